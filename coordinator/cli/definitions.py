"""`amends definitions`: what is registered."""

from __future__ import annotations

import json
from urllib.parse import quote

import click
from rich.syntax import Syntax

from amends.coordinator.cli.command import coordinator, json_option
from amends.coordinator.cli.printing import console, print_json
from amends.coordinator.cli.tables import definition_table


@click.group()
def definitions() -> None:
    """Look at the registered sagas."""


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
        found = api.get(
            f"/definitions/{quote(name, safe='')}" + (f"/{version}" if version is not None else "")
        )
    if as_json:
        print_json(found)
        return
    out = console()
    out.print(definition_table([found]))
    text = json.dumps(found["definition"], indent=2, ensure_ascii=False)
    out.print(Syntax(text, "json", background_color="default", word_wrap=True))
