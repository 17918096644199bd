"""The charts of a run, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot

PARTS: Final = {
    "coordinator": ("coordinator",),
    "participants": ("inventory", "payments", "shipping"),
    "PostgreSQL": ("postgresql",),
    "RabbitMQ": ("rabbitmq",),
}
COLOURS: Final = ("#2f5d8a", "#6fa3c7", "#e0a458", "#c8553d", "#8d99ae")


def draw(results: Mapping[str, Any], directory: Path) -> None:
    """Write the charts there are figures for. Without dates or random ids: the same figures give the same files."""
    mpl.rcParams.update({"svg.hashsalt": "amends", "font.size": 10, "svg.fonttype": "none"})
    figures = results["figures"]
    if "throughput" in figures:
        _throughput(figures["throughput"], directory / "throughput.svg")
        _costs(figures["throughput"], directory / "costs.svg")
        _latency(figures["throughput"], directory / "latency.svg")


def _throughput(figures: Mapping[str, Any], path: Path) -> None:
    canvas, axes = pyplot.subplots(figsize=(7.5, 0.55 * len(figures) + 1.2))
    names = list(figures)[::-1]
    for place, (in_flight, colour) in enumerate(((50, COLOURS[1]), (1_000, COLOURS[0]))):
        of = [figures[name][f"in_flight_{in_flight}"] for name in names]
        rates = [one["sagas_per_second"] for one in of]
        spread = [
            [one["sagas_per_second"] - one["least"] for one in of],
            [one["most"] - one["sagas_per_second"] for one in of],
        ]
        at = [row + 0.38 * (place - 0.5) for row in range(len(names))]
        bars = axes.barh(
            at, rates, 0.36, xerr=spread, color=colour, label=f"{in_flight:,} in flight", ecolor="#555"
        )
        axes.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=4, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("three-step sagas a second (median; the line is least to most)")
    _finish(canvas, axes, path)


def _costs(figures: Mapping[str, Any], path: Path) -> None:
    canvas, axes = pyplot.subplots(figsize=(7.5, 0.4 * len(figures) + 1.3))
    names = list(figures)[::-1]
    left = [0.0] * len(names)
    of = [figures[name]["in_flight_1000"] for name in names]
    shares = {
        label: [sum(_of_part(one, part) for part in parts) for one in of] for label, parts in PARTS.items()
    }
    known = [sum(values) for values in zip(*shares.values(), strict=True)]
    shares["the rest"] = [max(0.0, one["cpu_ms"] - sum_) for one, sum_ in zip(of, known, strict=True)]
    for (label, values), colour in zip(shares.items(), COLOURS, strict=True):
        axes.barh(names, values, left=left, color=colour, label=label)
        left = [before + value for before, value in zip(left, values, strict=True)]
    axes.set_xlabel("CPU milliseconds a saga, 1,000 in flight")
    _finish(canvas, axes, path)


def _of_part(one: Mapping[str, float], part: str) -> float:
    return sum(value for name, value in one.items() if name.startswith(f"cpu_ms_{part}"))


def _latency(figures: Mapping[str, Any], path: Path) -> None:
    named = [name for name in figures if "single" in figures[name]]
    loads = {"single": "one in flight", "rate_10": "10 a second", "rate_100": "100 a second"}
    canvas, axes = pyplot.subplots(figsize=(7.5, 3))
    for place, (name, colour) in enumerate(zip(named, COLOURS, strict=False)):
        at = [row + 0.26 * (place - 1) for row in range(len(loads))]
        p50 = [figures[name][load]["p50_ms"] for load in loads]
        p99 = [figures[name][load]["p99_ms"] for load in loads]
        bars = axes.bar(
            at,
            p50,
            0.24,
            yerr=[[0.0] * len(at), [high - low for low, high in zip(p50, p99, strict=True)]],
            color=colour,
            ecolor="#555",
            label=name,
        )
        axes.bar_label(bars, [f"{value:.0f}" for value in p50], padding=2, fontsize=9)
    axes.set_xticks(range(len(loads)), list(loads.values()))
    axes.set_ylabel("ms from start to end\n(bar p50, line p99)")
    axes.set_yscale("log")
    _finish(canvas, axes, path)


def _finish(canvas: Any, axes: Any, path: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    canvas.tight_layout()
    canvas.savefig(path, metadata={"Date": None})
    pyplot.close(canvas)
