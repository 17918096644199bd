"""`amends draw`: a definition or a saga as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import UUID

import click

from amends.coordinator.cli.command import coordinator
from amends.coordinator.cli.printing import say

_SVG: Final = ".svg"


@click.command()
@click.argument("what", metavar="NAME|SAGA")
@click.option("--version", type=click.IntRange(min=1), help="Of a definition. Default: the active version.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["mermaid", "svg"]),
    help="Default: svg for a FILE that ends so, else mermaid.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
def draw(what: str, version: int | None, format_: str | None, output: Path | None) -> None:
    """Draw the definition NAME, or a SAGA by its id with the state of each step.

    The picture goes to standard output, or to FILE.
    """
    if format_ is None:
        format_ = "svg" if output is not None and output.suffix.lower() == _SVG else "mermaid"
    path = _path(what, version)
    with coordinator() as api:
        picture = api.text(path, {"format": format_, "version": version})
    if output is None:
        click.echo(picture, nl=False)
        return
    output.write_text(picture, "utf-8")
    say(f"written: {output}")


def _path(what: str, version: int | None) -> str:
    try:
        saga_id = UUID(what)
    except ValueError:
        return f"/definitions/{quote(what, safe='')}/drawing"
    if version is not None:
        raise click.UsageError("--version is of a definition; a saga keeps the version it began with")
    return f"/sagas/{saga_id}/drawing"
