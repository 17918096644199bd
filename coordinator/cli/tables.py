"""Sagas, timelines and the outbox as people read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from amends.coordinator.cli.printing import cell, visible

STATUS_STYLES: Final = {
    "running": "cyan",
    "compensating": "yellow",
    "stuck": "bold red",
    "completed": "green",
    "compensated": "magenta",
    "rejected": "red",
}
_CHANGE_STYLES: Final = {"added": "green", "removed": "red", "moved": "cyan", "changed": "yellow"}
_NEXT: Final = {"step": "again", "timer moved": "to"}
_OUTCOME_STYLES: Final = {
    "done": "green",
    "refused": "yellow",
    "failed": "red",
    "timeout": "red",
    **STATUS_STYLES,
}


def saga_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Some sagas, one a line."""
    table = bare_table("id", "saga", "status", "started", "took", "key", "labels", "stuck at")
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(
            cell(row["id"]),
            cell(f"{row['name']} v{row['version']}"),
            cell(row["status"], STATUS_STYLES.get(row["status"], "")),
            cell(moment(row["started_at"])),
            cell(_took(row)),
            cell(row["key"]),
            cell(labels_text(row["labels"])),
            cell(", ".join(one["path"] or "the saga" for one in row["stuck"])),
        )
    return table


def show_saga(
    console: Console,
    saga: Mapping[str, Any],
    timeline: Mapping[str, Any],
    *,
    payloads: bool,
    children: Sequence[Mapping[str, Any]] = (),
) -> None:
    """One saga: its head, its parent and children, its course, what it waits for."""
    head = Text.assemble(
        (visible(f"{saga['name']} v{saga['version']} "), "bold"),
        saga["id"],
        "  ",
        (saga["status"], STATUS_STYLES.get(saga["status"], "")),
    )
    console.print(head)
    facts = {
        "key": saga["key"],
        "labels": labels_text(saga["labels"]),
        "parent": saga.get("parent"),
        "children": "; ".join(f"{one['id']} {one['name']} {one['status']}" for one in children),
        "started": moment(saga["started_at"]),
        "ended": moment(saga["ended_at"]) if saga["ended_at"] else None,
        "deadline": moment(saga["deadline_at"]) if saga["deadline_at"] and not saga["ended_at"] else None,
        "why": saga["error"],
        "overrides": "; ".join(saga["overrides"]),
        "input": json.dumps(saga["input"], ensure_ascii=False) if payloads else None,
    }
    for name, value in facts.items():
        if value:
            console.print(Text.assemble((f"  {name:<9} ", "dim"), visible(str(value))))
    console.print(timeline_table(timeline["entries"]))
    if timeline["truncated"]:
        console.print(Text("there is more: the timeline shows its beginning", style="yellow"))
    if saga["waits_for"]:
        console.print(Text.assemble(("waits for ", "bold"), visible(saga["waits_for"])))
    if payloads:
        for step in saga["steps"]:
            if step["result"] is not None:
                result = json.dumps(step["result"], ensure_ascii=False)
                console.print(Text.assemble((f"  {visible(step['path'])} ", "dim"), visible(result)))


def timeline_table(entries: Iterable[Mapping[str, Any]]) -> Table:
    """A saga's course, one event a line."""
    table = bare_table("time", "what", "step", "try", "took", "outcome", "why")
    for entry in entries:
        outcome = entry["outcome"]
        what = entry["op"] if entry["what"] == "step" else entry["what"]
        why = entry["error"]
        if entry["next_at"]:
            what_next = _NEXT.get(entry["what"], "until")
            why = (
                f"{why}; {what_next} {_clock(entry['next_at'])}"
                if why
                else f"{what_next} {_clock(entry['next_at'])}"
            )
        if entry["what"] == "edit":
            old, new = (json.dumps(entry[name], ensure_ascii=False) for name in ("old_args", "args"))
            why = f"{why}; args {old} -> {new}"
        if entry["actor"]:
            why = f"{entry['actor']}: {why}"
        table.add_row(
            cell(_clock(entry["at"]), "dim"),
            cell(f"{entry['what']} {entry['op']}" if entry["what"] == "sent" else what),
            cell(entry["path"]),
            cell(entry["tries"] or entry["attempt"]),
            cell(seconds(entry["duration"])),
            cell(outcome, _OUTCOME_STYLES.get(outcome or "", "")),
            cell(why),
        )
    table.columns[0].no_wrap = True
    return table


def definition_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Registered versions."""
    table = bare_table("saga", "version", "new sagas", "running", "hash", "registered", "by")
    for row in rows:
        takes, style = ("take it", "green") if row["active"] else ("", "")
        if row["active"] and row["suspended"]:
            takes, style = "wait: suspended", "yellow"
        registered = moment(row["registered_at"])
        table.add_row(
            cell(row["name"]),
            cell(row["version"]),
            cell(takes, style),
            cell(row["live"]),
            cell(row["hash"][:12]),
            cell(registered),
            cell(row["registered_by"]),
        )
    return table


def diff_table(changes: Iterable[Mapping[str, Any]]) -> Table:
    """What one definition changes of another."""
    table = bare_table("where", "what", "before", "after")
    for change in changes:
        table.add_row(
            cell(change["place"]),
            cell(change["what"], _CHANGE_STYLES[change["what"]]),
            cell(change["before"]),
            cell(change["after"]),
        )
    return table


def parked_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Outbox rows that need an operator."""
    table = bare_table("id", "type", "to", "since", "tries", "why")
    for row in rows:
        to = f"{row['exchange']}/{row['routing_key']}" if row["exchange"] else row["routing_key"]
        table.add_row(
            cell(row["id"]),
            cell(row["type"]),
            cell(to),
            cell(moment(row["parked_at"])),
            cell(row["attempts"]),
            cell(row["error"]),
        )
    return table


def bare_table(*columns: str) -> Table:
    """A table without lines."""
    return Table(*columns, box=None, header_style="bold", pad_edge=False)


def labels_text(labels: Mapping[str, str]) -> str:
    """`name=value`, by name."""
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def moment(text: str) -> str:
    """In the reader's own time zone, to the second."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _clock(text: str) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _took(row: Mapping[str, Any]) -> str:
    if not row["ended_at"]:
        return ""
    took = datetime.fromisoformat(row["ended_at"]) - datetime.fromisoformat(row["started_at"])
    return seconds(took.total_seconds())


def seconds(length: float | None) -> str:
    """A duration as a person reads it."""
    if length is None:
        return ""
    if length < 1:
        return f"{length * 1000:.0f} ms"
    if length < 120:
        return f"{length:.1f} s"
    minutes, rest = divmod(round(length), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24:,} d {hours % 24} h"
