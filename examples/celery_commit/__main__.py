"""Runs the example: `python -m examples.celery_commit`, in the repository's root.

Eight managers at once, three of which have a task that fails; in the middle one of two Celery workers is killed.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from uuid import UUID

import click
from sqlalchemy.ext.asyncio import create_async_engine

from amends.coordinator import queries
from examples.celery_commit.managers import Heard, manage_all
from examples.celery_commit.serving import World, served
from examples.conditional_commit.tasks import TASKS, Run
from examples.servers import servers
from examples.verdict import Verdict

RUNS = [
    Run(run=f"manager-{number}", failing=(0, 50, 0, 1, 0, 0, 100, 0)[number - 1]) for number in range(1, 9)
]


def main() -> None:
    """Manage all runs at once, then count what stands in the databases."""
    verdict = Verdict()
    with servers() as at, served(at) as world, ThreadPoolExecutor() as beside:
        killing = beside.submit(kill_one, world)
        heard = asyncio.run(managing(world))
        killing.result()
        click.echo("one of the two Celery workers was killed in the middle")
        for one in heard:
            check(world, one, verdict)
    verdict.tell(f"{TASKS} Celery tasks of each manager are committed together, or none is")


async def managing(world: World) -> list[Heard]:
    """One manager for each run."""
    engine = create_async_engine(world.databases["north"].url)
    try:
        return await manage_all(world.client, engine, RUNS)
    finally:
        await engine.dispose()


def kill_one(world: World) -> None:
    """`kill -9` of a Celery worker once tasks have begun: what it had at hand comes again, in the other."""
    deadline = monotonic() + 60
    while not any(world.count(run.run, committed=False) for run in RUNS):
        if monotonic() > deadline:
            raise TimeoutError("no task has run")
        sleep(0.02)
    world.celery[0].kill()


def check(world: World, heard: Heard, verdict: Verdict) -> None:
    """What the manager heard is what it should, and what stands."""
    run = heard.run
    committed = 0 if run.failing else TASKS
    told = "committed" if heard.committed else f"rolled back: {heard.why}"
    click.echo(f"{run.run}: {world.count(run.run, committed=True):>3} rows, {told}")
    verdict.equal(f"what {run.run} heard", heard.committed, not run.failing)
    verdict.equal(f"the rows of {run.run}", world.count(run.run, committed=True), committed)
    verdict.equal(f"provisional rows of {run.run}", world.count(run.run, committed=False), 0)
    found = queries.find_saga(world.coordinator, UUID(heard.saga), steps_max=TASKS)
    assert isinstance(found, queries.Detail)
    heard_of = [json.loads(step.result)["run"] for step in found.steps if step.result]
    verdict.equal(f"whose tasks {run.run} heard of", set(heard_of) - {run.run}, set())
    if heard.committed:
        verdict.equal(f"of how many tasks {run.run} heard", len(heard_of), TASKS)
    if run.failing:
        named = f"{run.run}: task {run.failing}: division by zero"
        verdict.equal(f"that {heard.why!r} says {named!r}", named in (heard.why or ""), True)


if __name__ == "__main__":
    main()
