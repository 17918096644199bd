"""What a person sees of a run: progress, figures, one amended order, the invariants; and the line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from sqlalchemy import Engine

from amends.coordinator import queries
from amends.coordinator.catalog import Catalog
from amends.coordinator.cli.tables import show_saga
from amends.coordinator.http.showing import shown_saga, shown_timeline
from amends.coordinator.records import History
from amends.db.engines import transaction
from amends.demo.checks import Verdict
from amends.demo.figures import Figures
from amends.demo.run import ENDED, Outcome, run
from amends.demo.shop.definition import Order
from amends.demo.stage import Stage

DONE: Final = "[green]✓[/]"
FAILED: Final = "[bold red]✗[/]"
ENTRIES_MAX: Final = 200

# The amended saga with the longest log: the most of it had to be taken back.
LONGEST_AMENDED = """
    SELECT saga.id FROM amends.saga AS saga WHERE saga.status = 'compensated'
    ORDER BY saga.seq DESC, saga.id LIMIT 1
"""


@contextmanager
def shown_progress(console: Console, orders: int) -> Iterator[Callable[[dict[str, int]], None]]:
    """A bar that fills as sagas end; give it the counts by status."""
    columns = (
        SpinnerColumn(),
        TextColumn("orders"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("orders", total=orders, words="")

        def show(statuses: dict[str, int]) -> None:
            words = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
            progress.update(task, completed=sum(statuses.get(one, 0) for one in ENDED), words=words)

        yield show


def shown_run(stage: Stage, orders: Sequence[Order], *, faults: bool, console: Console) -> Outcome:
    """Run these orders and show how it goes and what came of it."""
    console.print(f"{len(orders):,} orders, {'with' if faults else 'without'} faults; {stage.words}")
    with shown_progress(console, len(orders)) as progress:
        outcome = run(stage, orders, faults=faults, progress=progress)
    console.print()
    show_figures(console, outcome.figures)
    show_amended(console, stage.databases.coordinator)
    show_verdicts(console, outcome.verdicts)
    if not outcome.passed:
        console.print("The log's last warnings and errors:", *stage.log(), sep="\n  ", markup=False)
    return outcome


def show_amended(console: Console, database: Engine) -> None:
    """The amended order that went the longest way, as `amends sagas show` shows it."""
    with transaction(database) as connection:
        saga_id = connection.exec_driver_sql(LONGEST_AMENDED).scalar()
    history = queries.history(database, saga_id, rows_max=ENTRIES_MAX) if saga_id is not None else None
    if not isinstance(history, History):
        return
    header = history.detail.header
    definition = Catalog(database).get(header.name, header.version)
    console.print("[bold]One amended order[/]")
    show_saga(
        console,
        shown_saga(history.detail, None, payloads=False).model_dump(mode="json"),
        shown_timeline(history, definition, rows_max=ENTRIES_MAX).model_dump(mode="json"),
        payloads=False,
    )
    console.print()


def show_figures(console: Console, figures: Figures) -> None:
    """The table of figures."""
    table = Table(
        title=f"{figures.sagas:,} orders", title_justify="left", show_header=False, box=None, pad_edge=False
    )
    table.add_column(style="dim")
    table.add_column(justify="right")
    rows = [
        ("completed", f"{figures.completed:,}"),
        ("compensated", f"{figures.compensated:,}"),
        ("stuck", f"{figures.stuck:,}"),
        ("retries", f"{figures.retries:,}"),
        ("seconds", f"{figures.seconds:.1f}"),
        ("sagas per second", f"{figures.per_second:.0f}"),
        ("p50, order to end", f"{figures.p50_ms:,.0f} ms"),
        ("p99, order to end", f"{figures.p99_ms:,.0f} ms"),
    ]
    if figures.unfinished:
        rows.insert(3, ("unfinished", f"{figures.unfinished:,}"))
    for words, value in rows:
        table.add_row(words, value)
    console.print(table)
    console.print()


def show_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """The invariants with their numbers, and what speaks against one that does not hold."""
    table = Table(title="Invariants", title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(justify="right", style="dim")
    table.add_column()
    table.add_column()
    for verdict in verdicts:
        table.add_row(str(verdict.number), DONE if verdict.holds else FAILED, verdict.words)
        for finding in verdict.said():
            table.add_row("", "", f"[red]{finding}[/]")
    console.print(table)


def json_line(outcome: Outcome) -> str:
    """One object: what a script wants to know."""
    figures = outcome.figures
    return json.dumps(
        {
            "sagas": figures.sagas,
            "completed": figures.completed,
            "compensated": figures.compensated,
            "stuck": figures.stuck,
            "seconds": round(figures.seconds, 3),
            "sagas_per_second": round(figures.per_second, 1),
            "invariants": {str(verdict.number): verdict.holds for verdict in outcome.verdicts},
        }
    )
