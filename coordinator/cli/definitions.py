"""`amends definitions`: what is registered, which version new sagas take, and whether they begin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import quote

import click
from rich.syntax import Syntax
from rich.text import Text

from amends.coordinator.cli.client import Api
from amends.coordinator.cli.command import coordinator, json_option
from amends.coordinator.cli.loading import load_saga
from amends.coordinator.cli.printing import console, print_json, say, visible
from amends.coordinator.cli.tables import definition_table, diff_table
from amends.coordinator.definition_schema import definition_schema
from amends.coordinator.diff import differences
from amends.coordinator.saga.definition import Definition


@click.group()
def definitions() -> None:
    """Look at the registered sagas; choose which version new sagas take, and whether they begin."""


@definitions.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List every version. With --json: one object a line."""
    with coordinator() as api:
        rows = api.get("/definitions")["definitions"]
    if as_json:
        for row in rows:
            print_json(row)
        return
    none = "nothing is registered; register with `amends apply module:saga`"
    console().print(definition_table(rows) if rows else none)


@definitions.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="Default: the active version.")
@json_option
def show(name: str, version: int | None, as_json: bool) -> None:
    """Show the stored form of the saga NAME."""
    with coordinator() as api:
        found = api.get(_path(name, "" if version is None else f"/{version}"))
    if as_json:
        print_json(found)
        return
    out = console()
    out.print(definition_table([found]))
    if found["suspended"]:
        out.print(Text(_suspended(found["suspended"]), style="yellow"))
    text = json.dumps(found["definition"], indent=2, ensure_ascii=False)
    out.print(Syntax(text, "json", background_color="default", word_wrap=True))


@definitions.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--reason", default="", help="Why; kept in the audit with the token's name.")
@json_option
def activate(name: str, version: int, reason: str, as_json: bool) -> None:
    """Let new sagas of NAME take VERSION, newer or older than now. Running ones stay with theirs.

    Refused if the calls of sagas would come back to it by that.
    """
    with coordinator() as api:
        done = api.post(_path(name, "/activate"), {"version": version, "reason": reason})
    if as_json:
        print_json(done)
    elif done["before"] == version:
        say(f"unchanged: new sagas of {name} take version {version} already")
    else:
        before = f"; before: version {done['before']}" if done["before"] is not None else ""
        say(f"new sagas of {name} take version {version}{before}")


@definitions.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; whoever starts one over HTTP is told.")
@json_option
def suspend(name: str, reason: str, as_json: bool) -> None:
    """Let starts of the saga NAME wait. Running ones go on.

    Starts that services made in their transactions wait there and come by themselves after `resume`, however long it
    takes; starts over HTTP are refused and told to come again.
    """
    with coordinator() as api:
        done = api.post(_path(name, "/suspend"), {"reason": reason})
    if as_json:
        print_json(done)
    elif done["changed"]:
        say(f"suspended: no saga of {name} begins until `amends definitions resume {name}`")
    else:
        say(f"unchanged: {name} is {_suspended(done['suspended'])}")


@definitions.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; kept in the audit with the token's name.")
@json_option
def resume(name: str, reason: str, as_json: bool) -> None:
    """Let starts of the saga NAME begin again. What waits comes within five minutes, by itself."""
    with coordinator() as api:
        done = api.post(_path(name, "/resume"), {"reason": reason})
    if as_json:
        print_json(done)
    elif done["changed"]:
        say(f"resumed: sagas of {name} begin again; starts that wait come by themselves within five minutes")
    else:
        say(f"unchanged: {name} is not suspended")


@definitions.command()
@click.argument("old")
@click.argument("new")
@json_option
def diff(old: str, new: str, as_json: bool) -> None:
    """Show what NEW changes of OLD, place by place.

    Each is NAME@VERSION, NAME (its active version), or module:saga for one that is not registered yet:
    `amends definitions diff place-order shop.sagas:place_order`. With --json: one object a line.
    """
    with coordinator() as api:
        before, after = _find(api, old), _find(api, new)
    changes = [asdict(change) for change in differences(before, after)]
    if as_json:
        for change in changes:
            print_json(change)
        return
    said = f"{before.name}@{before.version} -> {after.name}@{after.version}"
    console().print(diff_table(changes) if changes else f"{said}: they do the same")


@definitions.command()
def schema() -> None:
    """Print the JSON Schema of definitions, for clients that write them in another language."""
    click.echo(json.dumps(definition_schema(), indent=2))


def _find(api: Api, reference: str) -> Definition:
    """Raises: NotLoadable, Declined, BadParameter."""
    if ":" in reference:
        return load_saga(reference).definition
    name, at, version = reference.partition("@")
    if at and not version.isdecimal():
        raise click.BadParameter(f"{reference!r} is not NAME@VERSION; write it as `place-order@2`")
    return Definition.from_json(api.get(_path(name, f"/{int(version)}" if at else ""))["definition"])


def _path(name: str, rest: str) -> str:
    return f"/definitions/{quote(name, safe='')}{rest}"


def _suspended(suspended: Mapping[str, Any]) -> str:
    since = datetime.fromisoformat(suspended["since"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    why = f": {suspended['reason']}" if suspended["reason"] else ""
    return visible(f"suspended since {since} by {suspended['by']}{why}")
