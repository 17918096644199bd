"""`amends outbox`: what waits in an outbox, the coordinator's or a service's, and what needs an operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from amends.coordinator.cli.command import coordinator, json_option
from amends.coordinator.cli.printing import console, print_json, say
from amends.coordinator.cli.tables import parked_table
from amends.outbox.cli_rows import drop, parked_in, retried_in, stats
from amends.outbox.putting import TABLE

if TYPE_CHECKING:
    from amends.coordinator.cli.client import Api

PAGE = 200

database_option = click.option(
    "--database", metavar="URL", help="A service's outbox, in its own database, instead of the coordinator's."
)
table_option = click.option(
    "--table", default=TABLE, show_default=True, metavar="NAME", help="The outbox table, with --database."
)


@click.group()
def outbox() -> None:
    """Look at an outbox, the coordinator's or a service's; send parked messages again."""


outbox.add_command(stats)
outbox.add_command(drop)


@outbox.command(name="list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@database_option
@table_option
@json_option
def list_(limit: int, database: str | None, table: str, as_json: bool) -> None:
    """Show what waits and list what is parked.

    With --json: one object a line, first the counts, then each parked row.
    """
    if database is not None:
        _list_of_service(database, table, limit, as_json)
        return
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
@click.option("--reason", help="Why; kept in the audit with the token's name. Needed for the coordinator's.")
@database_option
@table_option
@json_option
def retry(
    ids: tuple[int, ...], every: bool, reason: str | None, database: str | None, table: str, as_json: bool
) -> None:
    """Send parked messages again."""
    if every == bool(ids):
        raise click.UsageError("say which rows: --all, or --id for one or more")
    if database is not None:
        done = {"retried": retried_in(database, table, ids or None)}
        print_json(done) if as_json else say(f"{done['retried']} rows are due again")
        return
    if reason is None:
        raise click.UsageError("Missing option '--reason'.")
    body: dict[str, Any] = {"reason": reason}
    if ids:
        body["ids"] = list(ids)
    with coordinator() as api:
        done = api.post("/outbox/retry", body)
    if as_json:
        print_json(done)
    else:
        say(f"{done['retried']} rows are due again")


def _list_of_service(database: str, table: str, limit: int, as_json: bool) -> None:
    rows = [asdict(row) for row in parked_in(database, table, limit)]
    if as_json:
        for row in rows:
            print_json({**row, "created_at": str(row["created_at"]), "parked_at": str(row["parked_at"])})
        return
    if not rows:
        say("nothing is parked")
        return
    console().print(parked_table({**row, "parked_at": row["parked_at"].isoformat()} for row in rows))
    say("mend the cause, then `amends outbox retry --database URL --all`, or `--id` one")


def _parked(api: Api, rows_max: int) -> Iterator[dict[str, Any]]:
    after = 0
    while rows_max > 0:
        rows = api.get("/outbox", {"limit": min(PAGE, rows_max), "after": after})["parked_rows"]
        yield from rows
        if not rows:
            return
        rows_max -= len(rows)
        after = rows[-1]["id"]
