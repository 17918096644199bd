"""`amends simulate`: whole towns in which everything goes wrong, and must come to a good end."""

from __future__ import annotations

import os

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from amends.coordinator.cli.command import json_option
from amends.coordinator.cli.printing import print_json, say
from amends.coordinator.simulating.many import Failure, Moment, Simulated, simulate_with, story

_SHOWN_MAX = 10
_CHARS_MAX = 600


@click.command()
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The first run's seed.")
@click.option("--runs", default=1_000, show_default=True, type=click.IntRange(1), help="How many runs.")
@click.option("--jobs", type=click.IntRange(1), help="In so many processes; without it, one for each core.")
@json_option
@click.pass_context
def simulate(context: click.Context, seed: int, runs: int, jobs: int | None, as_json: bool) -> None:
    """Simulate whole towns of coordinators, participants and clients over the real machine, with crashes, lost and
    doubled messages, clocks that jump, wiped brokers, operators; then everything is healed, and every saga must end.

    Prints the seed and the invariant of each run that breaks one; `--seed THAT --runs 1` repeats it exactly and tells
    what happened in it. Exit status 1 if there is such a run. With --json: one object, at the end.
    """
    if runs == 1:
        moments, failure, counts = story(seed)
        simulated = Simulated(runs=1, counts=counts, failures=[failure] if failure else [])
        if not as_json:
            _tell(moments)
    else:
        simulated = _many(range(seed, seed + runs), jobs or _cores(), quiet=as_json)
    if as_json:
        print_json(_json(seed, runs, simulated))
    else:
        _print(seed, runs, simulated)
    if simulated.failures:
        context.exit(1)
    if simulated.runs < runs:
        context.exit(130)


def _many(seeds: range, jobs: int, *, quiet: bool) -> Simulated:
    simulated = Simulated()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=quiet) as progress:
        task = progress.add_task("runs", total=len(seeds))

        def told(some: Simulated) -> None:
            simulated.add(some)
            progress.advance(task, some.runs)
            for failure in some.failures:
                progress.update(task, description=f"runs, {len(simulated.failures)} failed")
                if not quiet and len(simulated.failures) <= _SHOWN_MAX:
                    say(_failure(failure))

        try:
            if not quiet:
                say(f"{len(seeds):,} runs from seed {seeds.start}, in {jobs} processes; Ctrl-C ends them")
            simulate_with(seeds, jobs, told)
        except KeyboardInterrupt:
            say("Interrupted.")
    return simulated


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _tell(moments: list[Moment]) -> None:
    for at, who, what in moments:
        say(f"{at / 1000:>12.3f}s  {who:<16} {what}")


def _print(seed: int, runs: int, simulated: Simulated) -> None:
    if runs == 1:
        for failure in simulated.failures:
            say(_failure(failure))
    counts = simulated.counts
    say(", ".join(f"{counts[name]:,} {name}" for name in sorted(counts)))
    done = f"{simulated.runs:,} of {runs:,} runs from seed {seed}"
    if simulated.failures:
        say(f"{done}: {len(simulated.failures)} broke an invariant")
    else:
        say(f"{done}: invariants 1 to 13 and 15 to 17 hold, every saga ends")


def _failure(failure: Failure) -> str:
    what = f"invariant {failure.invariant}" if failure.invariant else "an error"
    text = failure.text if len(failure.text) <= _CHARS_MAX else failure.text[:_CHARS_MAX] + " ..."
    return f"seed {failure.seed}: {what}: {text}\n  repeat it: amends simulate --seed {failure.seed} --runs 1"


def _json(seed: int, runs: int, simulated: Simulated) -> dict[str, object]:
    failures = [
        {"seed": one.seed, "invariant": one.invariant, "text": one.text} for one in simulated.failures
    ]
    return {
        "seed": seed,
        "runs": runs,
        "done": simulated.runs,
        "holds": not failures,
        "failures": failures,
        "counts": dict(sorted(simulated.counts.items())),
    }
