"""The hundred Celery tasks of a manager: each inserts a row into one of three databases, to be committed later.

A row is provisional until its manager's saga has heard that all hundred were inserted. Then every row is committed;
if a task is refused, every row is deleted. The tasks run in ordinary Celery workers, commit and delete are later
commands.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from sqlalchemy import Boolean, Column, Float, Integer, MetaData, String, Table, delete, insert, update

from amends.coordinator import Saga, arg, group, step
from amends.participants import Ctx, Refused
from amends.participants.celery import CeleryParticipant
from examples.conditional_commit.tasks import TASKS, Run, Task

app = Celery("celery-commit")  # Its broker is CELERY_BROKER_URL.
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True

metadata = MetaData()
rows = Table(
    "provisional_rows",
    metadata,
    Column("run", String(60), primary_key=True),
    Column("task", Integer, primary_key=True),
    Column("share", Float, nullable=False),
    Column("worker", Integer, nullable=False),
    Column("committed", Boolean, nullable=False),
)


def insert_row(cmd: Task, ctx: Ctx) -> dict[str, Any]:
    """In a Celery worker: a provisional row. Its result is what the manager's saga hears."""
    try:
        share = TASKS / (cmd.task - cmd.failing)
    except ZeroDivisionError as error:
        raise Refused(f"{cmd.run}: task {cmd.task}: {error}") from error
    ctx.session.execute(
        insert(rows).values(run=cmd.run, task=cmd.task, share=share, worker=os.getpid(), committed=False)
    )
    return {"run": cmd.run, "task": cmd.task, "worker": os.getpid()}


def commit_row(cmd: Task, ctx: Ctx) -> None:
    """All hundred were inserted."""
    ctx.session.execute(
        update(rows).where(rows.c.run == cmd.run, rows.c.task == cmd.task).values(committed=True)
    )


def delete_row(cmd: Task, ctx: Ctx) -> None:
    """One of the hundred was refused."""
    ctx.session.execute(delete(rows).where(rows.c.run == cmd.run, rows.c.task == cmd.task))


def provisional_rows(name: str) -> CeleryParticipant:
    """A participant with a database of its own: in a Celery worker it is the one that NORTH_DATABASE_URL names."""
    database = os.environ.get(f"{name.upper()}_DATABASE_URL")
    participant = CeleryParticipant(name, app, database=database)
    inserting = participant.task(name="insert", time_limit_s=60)(insert_row)
    inserting.confirm(name="commit")(commit_row)
    inserting.undo(name="delete")(delete_row)
    return participant


north, south, archive = participants = tuple(provisional_rows(name) for name in ("north", "south", "archive"))

celery_commit = Saga(
    "celery-commit",
    group(
        *(
            step(
                f"task-{number}",
                to=participants[number % len(participants)].name,
                do="insert",
                undo="delete",
                confirm="commit",
                args={"run": arg.run, "task": number, "failing": arg.failing},
                timeout="2m",  # The wait in Celery's queue, and the task itself.
            )
            for number in range(1, TASKS + 1)
        )
    ),
    version=1,
    deadline="10m",
    input=Run,
)
