"""`amends outbox`: what waits in the coordinator's outbox, and what needs an operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from amends.coordinator.cli.client import Api
from amends.coordinator.cli.command import coordinator, json_option, reason_option
from amends.coordinator.cli.printing import console, print_json, say
from amends.coordinator.cli.tables import parked_table

PAGE = 200


@click.group()
def outbox() -> None:
    """Look at the coordinator's outbox; send parked messages again."""


@outbox.command(name="list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@json_option
def list_(limit: int, as_json: bool) -> None:
    """Show what waits and list what is parked.

    With --json: one object a line, first the counts, then each parked row.
    """
    with coordinator() as api:
        counts = api.get("/outbox", {"limit": 0})
        del counts["parked_rows"]
        rows = list(_parked(api, limit))
    if as_json:
        print_json(counts)
        for row in rows:
            print_json(row)
        return
    out = console()
    out.print(
        f"{counts['pending']} pending (oldest {counts['oldest_age_s']:.1f} s), "
        f"{counts['awaiting_receipt']} await a receipt, {counts['parked']} parked"
    )
    if rows:
        out.print(parked_table(rows))
        out.print("mend the cause, then `amends outbox retry --all --reason ...`, or `--id` one")


@outbox.command()
@click.option("--id", "ids", type=click.IntRange(min=1), multiple=True, help="This row; repeatable.")
@click.option("--all", "every", is_flag=True, help="Every parked row.")
@reason_option
@json_option
def retry(ids: tuple[int, ...], every: bool, reason: str, as_json: bool) -> None:
    """Send parked messages again."""
    if every == bool(ids):
        raise click.UsageError("say which rows: --all, or --id for one or more")
    body: dict[str, Any] = {"reason": reason}
    if ids:
        body["ids"] = list(ids)
    with coordinator() as api:
        done = api.post("/outbox/retry", body)
    if as_json:
        print_json(done)
    else:
        say(f"{done['retried']} rows are due again")


def _parked(api: Api, rows_max: int) -> Iterator[dict[str, Any]]:
    after = 0
    while rows_max > 0:
        rows = api.get("/outbox", {"limit": min(PAGE, rows_max), "after": after})["parked_rows"]
        yield from rows
        if not rows:
            return
        rows_max -= len(rows)
        after = rows[-1]["id"]
