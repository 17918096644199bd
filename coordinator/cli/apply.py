"""`amends apply`: register sagas with the coordinator."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click

from amends.coordinator.cli.client import Api
from amends.coordinator.cli.command import coordinator, json_option
from amends.coordinator.cli.loading import load_saga
from amends.coordinator.cli.printing import print_json, say
from amends.coordinator.contracts import FindChild, check_contracts
from amends.coordinator.errors import Declined
from amends.coordinator.saga.definition import Definition
from amends.outbox.contracts.format import load


@click.command()
@click.argument("sagas", nargs=-1, required=True, metavar="MODULE:SAGA...")
@click.option(
    "--no-activate", is_flag=True, help="Register only: new sagas go on taking the version they take now."
)
@click.option(
    "--contracts",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What `amends contract export` wrote, one for each participant: sagas must fit, their calls too. Repeatable.",
)
@json_option
def apply(sagas: tuple[str, ...], no_activate: bool, contracts: tuple[Path, ...], as_json: bool) -> None:
    """Register sagas: `amends apply shop.sagas:place_order`.

    New sagas of the name take this version; running ones stay with theirs. Applying the same again changes
    nothing; other content needs another version. What is new is looked at quickly before: a promise that does not
    hold refuses it, what can stay behind or need an operator is a warning (`amends check` looks further).
    With --json: one object a line.
    """
    loaded = [(reference, load_saga(reference)) for reference in sagas]  # All, before anything is registered.
    with coordinator() as api:
        if contracts:
            known = {contract.participant: contract for contract in map(load, contracts)}
            children = _children(api, [saga.definition for _, saga in loaded])
            for _, saga in loaded:
                check_contracts(saga.definition, known, children)
        for reference, saga in loaded:
            body = {"definition": saga.definition.to_json(), "activate": not no_activate}
            done = api.post("/definitions", body)
            if as_json:
                print_json(done)
            else:
                what = "registered" if done["created"] else "unchanged"
                taken = "new sagas take it" if done["active"] else "new sagas do not take it yet"
                say(
                    f"{what}: {done['name']} version {done['version']} ({done['hash'][:12]}) from {reference}; {taken}"
                )
                for warning in done["warnings"]:
                    say(f"  warning: {warning}")


def _children(api: Api, loaded: list[Definition]) -> FindChild:
    """Finds the sagas that are called: among those that are applied together, else with the coordinator."""

    def find(name: str, version: int | None) -> Definition | None:
        for definition in loaded:
            if definition.name == name and version in (None, definition.version):
                return definition
        path = f"/definitions/{quote(name, safe='')}" + (f"/{version}" if version is not None else "")
        try:
            return Definition.from_json(api.get(path)["definition"])
        except Declined as declined:
            if declined.status == 404:
                return None  # Not registered yet, whatever the order of deployment.
            raise

    return find
