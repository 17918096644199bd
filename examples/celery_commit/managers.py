"""A manager: a coroutine that has a hundred tasks done somewhere, and hears whether all of its own were."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from amends.participants import Client
from examples.celery_commit.tasks import celery_commit
from examples.conditional_commit.tasks import Run


@dataclass(frozen=True, slots=True)
class Heard:
    """What a manager heard of its run."""

    run: Run
    saga: str
    committed: bool
    why: str | None


async def manage(client: Client, engine: AsyncEngine, run: Run) -> Heard:
    """Start a run, if this transaction commits, and wait for its end."""
    async with AsyncSession(engine) as session, session.begin():
        saga = await client.astart(session, celery_commit, run, key=run.run)
    ended = await client.await_end(saga, 120.0, input=run)
    return Heard(run, saga, ended.completed, ended.error)


async def manage_all(client: Client, engine: AsyncEngine, runs: list[Run]) -> list[Heard]:
    """One manager for each run, all at once."""
    return await asyncio.gather(*(manage(client, engine, run) for run in runs))
