"""`amends why`: what a saga waits for, and what would move it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import click
from rich.console import Console
from rich.text import Text

from amends.coordinator.cli.command import coordinator, json_option
from amends.coordinator.cli.printing import console, print_json, visible
from amends.coordinator.cli.tables import STATUS_STYLES, moment, seconds


@click.command()
@click.argument("saga_id", type=click.UUID, metavar="SAGA")
@json_option
def why(saga_id: UUID, as_json: bool) -> None:
    """Tell why SAGA does not move: what it waits for, since when, what comes next, and what you can do."""
    with coordinator() as api:
        told = api.get(f"/sagas/{saga_id}/why")
    if as_json:
        print_json(told)
    else:
        _tell(console(), told)


def _tell(out: Console, told: Mapping[str, Any]) -> None:
    out.print(
        Text.assemble(
            (visible(f"{told['name']} v{told['version']} "), "bold"),
            told["id"],
            "  ",
            (told["status"], STATUS_STYLES.get(told["status"], "")),
        )
    )
    if told["ended_at"]:
        out.print(f"it ended at {moment(told['ended_at'])}; it waits for nothing")
    for wait in told["waits"]:
        out.print()
        for line in _lines(wait, told["at"]):
            out.print(line, soft_wrap=True)
    if told["more"]:
        out.print(f"\nand {told['more']:,} more; `amends sagas show {told['id']} --json` lists every step")
    if told["deadline"] is not None:
        deadline = told["deadline"]
        when = _away(deadline["at"], told["at"])
        out.print(
            Text.assemble(
                "\n", ("deadline ", "dim"), f"{moment(deadline['at'])} ({when}): {deadline['then']}"
            )
        )


def _lines(wait: Mapping[str, Any], now: str) -> Iterator[Text]:
    place = visible(wait["path"]) or "the saga"
    if wait["count"] > 1:
        place += f" ... {visible(wait['last_path'])} ({wait['count']:,})"
    yield Text.assemble((place, "bold"), "  ", (wait["cause"], "cyan"))
    yield Text.assemble(("  why       ", "dim"), visible(wait["text"]))
    if wait["since"]:
        yield Text.assemble(("  since     ", "dim"), f"{moment(wait['since'])} ({_away(wait['since'], now)})")
    if wait["next"] is None:
        yield Text.assemble(("  next      ", "dim"), "nothing comes by itself")
    else:
        at = f"{moment(wait['next_at'])} ({_away(wait['next_at'], now)}): " if wait["next_at"] else ""
        yield Text.assemble(("  next      ", "dim"), at + visible(wait["next"]))
    for act in wait["acts"]:
        yield Text.assemble(("  you can   ", "dim"), (visible(act), "bold"))


def _away(text: str, now: str) -> str:
    """How long ago, or how soon."""
    distance = (datetime.fromisoformat(text) - datetime.fromisoformat(now)).total_seconds()
    return f"in {seconds(distance)}" if distance > 0 else f"{seconds(-distance)} ago"
