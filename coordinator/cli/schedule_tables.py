"""Schedules as people read them. Instants are shown in the schedule's own time zone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.console import Console
from rich.table import Table
from rich.text import Text

from amends.coordinator.cli.printing import cell, visible


def schedule_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Some schedules, one a line."""
    table = Table(
        *("name", "cron", "saga", "next due", "fired", "missed", "failed", "error"),
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for row in rows:
        table.add_row(
            cell(row["name"]),
            cell(f"{row['cron']} {row['timezone']}"),
            cell(_saga(row)),
            cell(_next(row), "yellow" if row["paused_at"] else ""),
            cell(row["fired_runs"]),
            cell(row["missed_runs"]),
            cell(row["failed_runs"]),
            cell(row["error"], "red"),
        )
    return table


def show_schedule(console: Console, row: Mapping[str, Any]) -> None:
    """One schedule: what it starts, when, and how it went."""
    console.print(Text(visible(row["name"]), style="bold"))
    facts = {
        "saga": _saga(row),
        "cron": f"{row['cron']} in {row['timezone']}",
        "missed": f"{row['missed']} ({row['missed_runs']} so far)",
        "labels": " ".join(f"{name}={value}" for name, value in sorted(row["labels"].items())),
        "added": f"{_moment(row, row['created_at'])} by {row['created_by']}",
        "fired": f"{row['fired_runs']} times" + (f", last {_last(row)}" if row["last_due_at"] else ""),
        "failed": f"{row['failed_runs']} times" if row["failed_runs"] else None,
        "error": f"{_moment(row, row['failed_at'])}: {row['error']}" if row["error"] else None,
        "next due": "\n            ".join(_moment(row, at) for at in row["upcoming"]) or _next(row),
    }
    for name, value in facts.items():
        if value:
            console.print(Text.assemble((f"  {name:<9} ", "dim"), visible(value)))


def _saga(row: Mapping[str, Any]) -> str:
    return f"{row['saga']} v{row['version']}" if row["version"] is not None else str(row["saga"])


def _next(row: Mapping[str, Any]) -> str:
    return _moment(row, row["next_due_at"]) if row["next_due_at"] else "paused"


def _last(row: Mapping[str, Any]) -> str:
    return f"for {_moment(row, row['last_due_at'])} as saga {row['last_saga']}"


def _moment(row: Mapping[str, Any], text: str) -> str:
    moment = datetime.fromisoformat(text)
    try:
        moment = moment.astimezone(ZoneInfo(row["timezone"]))
    except ZoneInfoNotFoundError:
        return moment.isoformat(" ", "seconds")  # The coordinator knows it, this machine does not.
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z")
