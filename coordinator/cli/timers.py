"""`amends timers`: what is due when; move it, put it off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import click
from rich.table import Table

from amends.coordinator.cli.command import coordinator, json_option, reason_option
from amends.coordinator.cli.printing import cell, console, print_json, say
from amends.coordinator.cli.tables import bare_table, labels_text, moment


@click.group()
def timers() -> None:
    """Look at what is due; move it."""


@timers.command(name="list")
@click.option("--saga", metavar="ID|NAME", help="Of the saga with this id, or of all of this name.")
@click.option("--name", help="Of sagas of this name.")
@click.option("--participant", help="Of commands to this participant.")
@click.option(
    "--label", "labels", multiple=True, metavar="K=V", help="Of sagas with all of them; repeatable."
)
@click.option("--kind", type=click.Choice(["deadline", "timeout", "retry", "wait"]), help="Only these.")
@click.option("--within", metavar="DURATION", help="Due within: `1h`.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@json_option
def list_(limit: int, as_json: bool, labels: tuple[str, ...], saga: str | None, **wanted: str | None) -> None:
    """List what is due, the first due first. With --json: one object a line."""
    if saga is not None:
        wanted["saga" if _is_id(saga) else "name"] = saga
    params = {**wanted, "label": labels}
    with coordinator() as api:
        found = api.pages("/timers", "timers", params, limit)
        if as_json:
            for timer in found:
                print_json(timer)
            return
        rows = list(found)
    console().print(_table(rows) if rows else "nothing is due")


@timers.command()
@click.argument("saga_id", type=click.UUID, metavar="SAGA")
@click.argument("path", required=False)
@click.option("--deadline", is_flag=True, help="The saga's deadline, in place of a step's PATH.")
@click.option("--to", metavar="TIME", help="An ISO time; what is past is due now.")
@click.option("--in", "within", metavar="DURATION", help="So long from now: `15m`; `0s` is now.")
@reason_option
@json_option
def move(
    saga_id: UUID,
    path: str | None,
    deadline: bool,
    to: str | None,
    within: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Move what is due for the step PATH of SAGA, or its deadline."""
    if (to is None) is (within is None):
        raise click.UsageError("say when: --to a time, or --in a duration from now")
    when = {"to": to} if to is not None else {"in": within}
    _act(saga_id, "move", {"reason": reason, **_what(path, deadline), **when}, as_json)


@timers.command()
@click.argument("saga_id", type=click.UUID, metavar="SAGA")
@click.argument("path", required=False)
@click.option("--deadline", is_flag=True, help="The saga's deadline, in place of a step's PATH.")
@reason_option
@json_option
def cancel(saga_id: UUID, path: str | None, deadline: bool, reason: str, as_json: bool) -> None:
    """Put the deadline of SAGA off as far as it goes, or how long its step PATH waits for a signal.

    An attempt's timeout and the time of a retry can only be moved: without them the step might wait for ever.
    """
    _act(saga_id, "cancel", {"reason": reason, **_what(path, deadline)}, as_json)


def _is_id(text: str) -> bool:
    try:
        return bool(UUID(text))
    except ValueError:
        return False


def _what(path: str | None, deadline: bool) -> dict[str, str]:
    if deadline is (path is not None):
        raise click.UsageError("say which: the PATH of a step, or --deadline")
    return {} if path is None else {"path": path}


def _act(saga_id: UUID, act: str, body: Mapping[str, object], as_json: bool) -> None:
    with coordinator() as api:
        done = api.post(f"/sagas/{saga_id}/timers/{act}", body)
    if as_json:
        print_json(done)
    else:
        say(f"{act}: done; saga {done['id']} is {done['status']}")


def _table(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = bare_table("due", "kind", "saga", "id", "step", "participant", "try", "labels", "held since")
    table.columns[3].no_wrap = True
    for row in rows:
        step = row["path"] if row["op"] in (None, "do") else f"{row['op']} of {row['path']}"
        table.add_row(
            cell(moment(row["due_at"])),
            cell(row["kind"]),
            cell(row["name"]),
            cell(row["saga_id"]),
            cell(step),
            cell(row["participant"]),
            cell(row["attempt"] or None),
            cell(labels_text(row["labels"])),
            cell(moment(row["held_since"]) if row["held_since"] else None),
        )
    return table
