"""`amends audit`: who did what to sagas, definitions, schedules and the outbox, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import click
from rich.table import Table

from amends.coordinator.cli.command import coordinator, json_option
from amends.coordinator.cli.printing import cell, console, print_json
from amends.coordinator.cli.tables import bare_table, moment


@click.command()
@click.argument("saga_id", type=click.UUID, metavar="SAGA", required=False)
@click.option("--actor", help="By the token of this name.")
@click.option("--act", help="Such as retry, movetimer, schedule_add, outbox_retry, 'definition apply'.")
@click.option("--since", metavar="TIME", help="Since: `1h` ago, or an ISO time.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@json_option
def audit(saga_id: UUID | None, limit: int, as_json: bool, **wanted: str | None) -> None:
    """List what was done, to SAGA or to anything, by whom and why, the last first. With --json: one object a line."""
    params = {**wanted, "saga": str(saga_id) if saga_id is not None else None}
    with coordinator() as api:
        found = api.pages("/audit", "acts", params, limit)
        if as_json:
            for act in found:
                print_json(act)
            return
        rows = list(found)
    console().print(_table(rows) if rows else "nothing was done")


def _table(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = bare_table("time", "by", "act", "saga", "step", "why", "details")
    table.columns[3].no_wrap = True
    for row in rows:
        table.add_row(
            cell(moment(row["at"])),
            cell(row["actor"]),
            cell(row["act"]),
            cell(row["saga_id"]),
            cell(row["path"]),
            cell(row["reason"]),
            cell(json.dumps(row["details"], ensure_ascii=False) if row["details"] else None),
        )
    return table
