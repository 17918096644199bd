"""`amends contract`: what a participant takes, as a file; what a change of it breaks; what nobody needs any more."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote

import click
import msgspec

from amends.outbox.contracts.format import Contract, load, written
from amends.participants.breaking import breaks
from amends.participants.config import door_from_environment
from amends.participants.contract import contract_of
from amends.participants.loading import load_participant

_BREAKS = 1


class _Need(msgspec.Struct, frozen=True):
    op: str
    name: str


class _Needs(msgspec.Struct, frozen=True):
    needs: list[_Need]
    unreadable: list[str]


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")


@click.group()
def contract() -> None:
    """Commands of participants as data: export, compare, look for what nobody needs."""


@contract.command()
@click.argument("reference", metavar="MODULE:OBJECT")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output."
)
def export(reference: str, output: Path | None) -> None:
    """Write a participant's commands, undos and confirms with their JSON Schemas: `shop.payments:payments`."""
    text = written(contract_of(load_participant(reference)))
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n", "utf-8")


@contract.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@json_option
def check(old: Path, new: Path, as_json: bool) -> None:
    """Say what the contract NEW breaks of OLD. Exit status 1 if something does.

    A command that is gone, a field newly required, a type narrowed, a value no longer taken, a result that promises
    less. With --json: one object a line.
    """
    found = breaks(load(old), load(new))
    for one in found:
        if as_json:
            click.echo(msgspec.json.encode({"place": one.place, "problem": one.text}).decode())
        else:
            click.echo(str(one))
    if found:
        sys.exit(_BREAKS)
    if not as_json:
        click.echo("nothing breaks", err=True)


@contract.command()
@click.argument("reference", metavar="MODULE:OBJECT|FILE")
@json_option
def unused(reference: str, as_json: bool) -> None:
    """List the handlers that no live saga needs: no active definition, and no version that sagas still run in.

    Asks the coordinator that AMENDS_URL names. With --json: one object a line.
    """
    offered = _contract(reference)
    answer = door_from_environment("amends contract").ask(
        "GET", f"/participants/{quote(offered.participant, safe='')}/needs"
    )
    needed = msgspec.json.decode(answer, type=_Needs)
    used = {(one.op, one.name) for one in needed.needs}
    free = [(op, name) for op, name in offered.handlers() if (op.value, name) not in used]
    for op, name in free:
        click.echo(msgspec.json.encode({"op": op, "name": name}).decode() if as_json else f"{op} {name}")
    if needed.unreadable:
        newer = ", ".join(needed.unreadable)
        click.echo(
            f"not looked into, being of a newer release: {newer}; ask one of its coordinators", err=True
        )
    if not free and not as_json:
        click.echo(f"live sagas need every handler of {offered.participant}", err=True)


def _contract(reference: str) -> Contract:
    path = Path(reference)
    return load(path) if path.is_file() else contract_of(load_participant(reference))
