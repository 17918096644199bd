"""`amends sagas`: start, list, show. The operator's acts are in `acts.py`."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import click

from amends.coordinator.cli.acts import ACTS
from amends.coordinator.cli.command import coordinator, json_option
from amends.coordinator.cli.giving import given, json_input, labels_given
from amends.coordinator.cli.printing import console, print_json, say
from amends.coordinator.cli.signal import signal
from amends.coordinator.cli.tables import saga_table, show_saga
from amends.coordinator.saga.state import Status

CHILDREN_MAX: Final = 100


@click.group()
def sagas() -> None:
    """Start sagas, look at them, act on them."""


sagas.add_command(signal)


@sagas.command()
@click.argument("name")
@click.option("--input", "input_", required=True, metavar="FILE|JSON", help="A file, `-`, or JSON itself.")
@click.option(
    "--key",
    help="Makes it safe to repeat: one key, one saga. Default: what the definition makes of the input, if it says.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="K=V",
    help="For finding it again, beside those that the definition makes of the input; repeatable.",
)
@click.option("--version", type=click.IntRange(min=1), help="Default: the active version.")
@json_option
def start(
    name: str, input_: str, key: str | None, labels: tuple[str, ...], version: int | None, as_json: bool
) -> None:
    """Start the saga NAME; prints its id."""
    body = {"name": name, "input": json_input(input_), "labels": labels_given(labels)}
    body |= given(key=key, version=version)
    with coordinator() as api:
        started = api.post("/sagas", body)
    if as_json:
        print_json(started)
        return
    if not started["created"]:
        say(f"the same start stood already; it is {started['status']}")
    click.echo(started["id"])


@sagas.command(name="list")
@click.option("--status", multiple=True, type=click.Choice([status.value for status in Status]))
@click.option("--saga", "--name", "name", help="Of this name only.")
@click.option("--key", help="The one this key started.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="All of them; repeatable.")
@click.option("--parent", type=click.UUID, help="The children of this saga.")
@click.option("--older", metavar="TIME", help="Started before: `1h` ago, or an ISO time.")
@click.option("--newer", metavar="TIME", help="Started after: `1h` ago, or an ISO time.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@json_option
def list_(
    status: tuple[str, ...],
    name: str | None,
    key: str | None,
    labels: tuple[str, ...],
    parent: UUID | None,
    older: str | None,
    newer: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List sagas, newest first. With --json: one object a line."""
    labels_given(labels)
    params = {"status": status, "name": name, "key": key, "label": labels, "older": older, "newer": newer}
    params["parent"] = str(parent) if parent is not None else None
    with coordinator() as api:
        # One more than asked for tells whether there are more.
        rows = list(api.sagas(params, limit + 1))
    if as_json:
        for saga in rows[:limit]:
            print_json(saga)
    else:
        console().print(saga_table(rows[:limit]) if rows else "no such sagas")
    if len(rows) > limit:
        say(f"there are more than these {limit:,}; --limit shows more")


@sagas.command()
@click.argument("saga_id", type=click.UUID)
@click.option("--payloads", is_flag=True, help="With its input and its steps' results.")
@json_option
def show(saga_id: UUID, payloads: bool, as_json: bool) -> None:
    """Show one saga: where it stands, what happened, what it waits for.

    With --json: one object, {"saga": ..., "timeline": [...], "children": [...]}.
    """
    with coordinator() as api:
        saga = api.get(f"/sagas/{saga_id}", {"payloads": payloads})
        timeline = api.get(f"/sagas/{saga_id}/timeline")
        children = list(api.sagas({"parent": str(saga_id)}, CHILDREN_MAX))
    if as_json:
        print_json({"saga": saga, "timeline": timeline["entries"], "children": children})
    else:
        show_saga(console(), saga, timeline, payloads=payloads, children=children)


for _act in ACTS:
    sagas.add_command(_act)
