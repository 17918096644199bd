"""`amends schedule`: sagas that start by the clock."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from amends.coordinator.cli.command import coordinator, json_option, reason_option
from amends.coordinator.cli.giving import given, json_input, labels_given
from amends.coordinator.cli.printing import console, print_json, say
from amends.coordinator.cli.schedule_tables import schedule_table, show_schedule
from amends.coordinator.schedules.missed import MADE_UP_MAX, Missed


@click.group()
def schedule() -> None:
    """Start sagas by the clock."""


@schedule.command()
@click.argument("name")
@click.option(
    "--cron", required=True, metavar="EXPR", help="minute hour day month weekday: '0 3 * * MON-FRI'."
)
@click.option("--saga", required=True, help="A registered saga.")
@click.option("--input", "input_", required=True, metavar="FILE|JSON", help="A file, `-`, or JSON itself.")
@click.option("--version", type=click.IntRange(min=1), help="Default: the active version, at each run.")
@click.option("--timezone", default="UTC", show_default=True, help="Such as Europe/Berlin.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="Of each saga; repeatable.")
@click.option(
    "--missed",
    type=click.Choice([policy.value for policy in Missed]),
    default=Missed.ONCE.value,
    show_default=True,
    help=f"What becomes of runs that passed: none, one for all, or each (the last {MADE_UP_MAX}).",
)
@click.option("--reason", default="", help="Why; kept in the audit with the token's name.")
@json_option
def add(
    name: str,
    cron: str,
    saga: str,
    input_: str,
    version: int | None,
    timezone: str,
    labels: tuple[str, ...],
    missed: str,
    reason: str,
    as_json: bool,
) -> None:
    """Add the schedule NAME: `amends schedule add report --cron '0 3 * * *' --saga send-report --input '{}'`.

    The input is checked now. Adding the same again changes nothing; to change one, remove it first.
    """
    body = {
        "name": name,
        "cron": cron,
        "timezone": timezone,
        "saga": saga,
        "input": json_input(input_),
        "labels": labels_given(labels),
        "missed": missed,
        "reason": reason,
        **given(version=version),
    }
    with coordinator() as api:
        added = api.post("/schedules", body)
    if as_json:
        print_json(added)
    else:
        unchanged = "" if added["changed"] else "unchanged; "
        say(f"schedule {added['name']}: {unchanged}due next at {added['next_due_at']}")


@schedule.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List every schedule. With --json: one object a line."""
    with coordinator() as api:
        rows = api.get("/schedules")["schedules"]
    if as_json:
        for row in rows:
            print_json(row)
        return
    console().print(schedule_table(rows) if rows else "no schedules; `amends schedule add` adds one")


@schedule.command()
@click.argument("name")
@click.option("--payloads", is_flag=True, help="With the input of the sagas it starts.")
@json_option
def show(name: str, payloads: bool, as_json: bool) -> None:
    """Show one schedule, and when it is due next."""
    with coordinator() as api:
        found = api.get(_path(name), {"payloads": payloads})
    if as_json:
        print_json(found)
        return
    out = console()
    show_schedule(out, found)
    if payloads:
        out.print_json(json.dumps(found["input"]))


@schedule.command()
@click.argument("name")
@reason_option
@json_option
def pause(name: str, reason: str, as_json: bool) -> None:
    """Let a schedule fire no more until it is resumed."""
    _act(name, "pause", reason, as_json)


@schedule.command()
@click.argument("name")
@reason_option
@json_option
def resume(name: str, reason: str, as_json: bool) -> None:
    """Let a schedule fire again, from its next instant on."""
    _act(name, "resume", reason, as_json)


@schedule.command()
@click.argument("name")
@reason_option
@json_option
def remove(name: str, reason: str, as_json: bool) -> None:
    """Remove a schedule; the sagas it started go on."""
    _act(name, "remove", reason, as_json)


def _path(name: str) -> str:
    return f"/schedules/{quote(name, safe='')}"


def _act(name: str, act: str, reason: str, as_json: bool) -> None:
    with coordinator() as api:
        done = api.post(f"{_path(name)}/{act}", {"reason": reason})
    if as_json:
        print_json(done)
        return
    due = f"; due next at {done['next_due_at']}" if act == "resume" else ""
    outcome = "done" if done.get("changed", True) else "unchanged"
    say(f"{act}: {outcome}; schedule {done['name']}{due}")
