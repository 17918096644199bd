"""`python -m bench`: run the benchmark, print its tables, write bench/results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from bench import report
from bench.charts import draw
from bench.goals import judged
from bench.machine import described
from bench.sections import fleet, growth, relay, roundtrips, size, throughput
from bench.servers import Servers, servers

RESULTS: Final = Path(__file__).parent / "results"
SECTIONS: Final = ("throughput", "roundtrips", "relay", "growth", "fleet", "size")


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds and smaller numbers, under three minutes.")
@click.option("--only", multiple=True, type=click.Choice(SECTIONS), help="This section; may be repeated.")
@click.option("--who", multiple=True, help="Of the throughput's contestants this one; may be repeated.")
@click.option("--output", type=click.Path(path_type=Path), default=RESULTS, help="Where results are written.")
def main(quick: bool, only: Sequence[str], who: Sequence[str], output: Path) -> None:
    """Measure amends beside a bare loop, DBOS and Celery, on a PostgreSQL and a RabbitMQ of this run's own."""
    console = Console(width=None if Console().is_terminal else 120)
    began = time.monotonic()
    with servers() as running:
        results: dict[str, Any] = {"machine": described(running), "quick": quick, "figures": {}}
        for section in only or SECTIONS:
            console.print(f"[bold]{section}[/bold]")
            section_began = time.monotonic()
            results["figures"][section] = _measured(section, running, quick, who, console.print)
            console.print(f"  {time.monotonic() - section_began:.0f} s")
    results["goals"] = judged(results["figures"])
    results["minutes"] = round((time.monotonic() - began) / 60, 1)
    report.show(console, results)
    output.mkdir(parents=True, exist_ok=True)
    (output / ("quick.json" if quick else "latest.json")).write_text(json.dumps(results, indent=1) + "\n")
    if not quick and not only:
        draw(results, output)
    console.print(f"{results['minutes']} minutes; written to {output}")


def _measured(
    section: str, running: Servers, quick: bool, who: Sequence[str], told: Callable[[str], None]
) -> dict[str, Any]:
    if section == "throughput":
        return throughput.measure(running, quick=quick, told=told, only=who)
    modules = {"roundtrips": roundtrips, "relay": relay, "growth": growth, "fleet": fleet, "size": size}
    return modules[section].measure(running, quick=quick)


if __name__ == "__main__":
    main()
