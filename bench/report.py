"""The tables of a run, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show(console: Console, results: Mapping[str, Any]) -> None:
    """Print every table there are figures for."""
    throughput = results["figures"].get("throughput", {})
    if throughput:
        console.print(_throughput(throughput))
        console.print(_latencies(throughput))
    for section, figures in results["figures"].items():
        if section != "throughput":
            console.print(_plain(section, figures))
    console.print(_goals(results["goals"]))


def _throughput(figures: Mapping[str, Any]) -> Table:
    table = Table(title="Sagas a second: median of the rounds (least to most)")
    for column in (
        "",
        "in flight",
        "sagas/s",
        "",
        "CPU ms a saga",
        "PostgreSQL",
        "RabbitMQ",
        "WAL KB a saga",
    ):
        table.add_column(column, justify="left" if not column else "right")
    for name, of in figures.items():
        for in_flight in (1_000, 50):
            one = of[f"in_flight_{in_flight}"]
            table.add_row(
                name,
                f"{in_flight:,}",
                f"{one['sagas_per_second']:,.0f}",
                f"{one['least']:,.0f} to {one['most']:,.0f}",
                f"{one['cpu_ms']:.2f}",
                f"{one['cpu_ms_postgresql']:.2f}",
                f"{one['cpu_ms_rabbitmq']:.2f}",
                f"{one['wal_bytes'] / 1000:.1f}",
            )
    return table


def _latencies(figures: Mapping[str, Any]) -> Table:
    table = Table(title="Milliseconds from start to end, and to the start's acknowledgement")
    for column in ("", "load", "p50", "p99", "p99.9", "acknowledged p50", "p99"):
        table.add_column(column, justify="left" if not column else "right")
    loads = {"single": "one in flight", "rate_10": "10 a second", "rate_100": "100 a second"}
    for name, of in figures.items():
        for load, words in loads.items():
            if load in of:
                end, ack = of[load], of[f"{load}_acknowledged"]
                cells = (end["p50_ms"], end["p99_ms"], end["p999_ms"], ack["p50_ms"], ack["p99_ms"])
                table.add_row(name, words, *(f"{cell:.1f}" for cell in cells))
    return table


def _plain(section: str, figures: Mapping[str, Any]) -> Table:
    table = Table(title=section.replace("_", " ").capitalize())
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in _flat(figures).items():
        table.add_row(name.replace("_", " "), f"{value:,.4g}" if isinstance(value, float) else str(value))
    return table


def _flat(figures: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """What is nested under its names put together; who waited for what is left to the file."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if name.startswith("waits"):
            continue
        flat |= _flat(value, f"{before}{name} ") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return flat


def _goals(goals: list[dict[str, Any]]) -> Table:
    table = Table(title="Goals")
    for column in ("", "goal", "value", "met"):
        table.add_column(column, justify="left" if not column else "right")
    for goal in goals:
        table.add_row(goal["name"], goal["goal"], f"{goal['value']:,.3g}", "yes" if goal["met"] else "NO")
    return table
