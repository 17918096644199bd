"""One hundred tasks, each a row in one of three databases: all of them, or none.

A task that cannot be done is a refusal: nothing of it has happened, and doing it again would not help. So a division
by zero in one handler takes back what the other ninety-nine did.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from sqlalchemy import Column, Float, Integer, MetaData, String, Table, delete, insert

from amends.coordinator import Saga, arg, group, step
from amends.participants import Ctx, Participant, Refused

TASKS: Final = 100

metadata = MetaData()
rows = Table(
    "task_rows",
    metadata,
    Column("run", String(60), primary_key=True),
    Column("task", Integer, primary_key=True),
    Column("share", Float, nullable=False),
)


class Run(Struct, frozen=True):
    """What a run starts with. The task of the number `failing` divides by zero; 0 is no task's number."""

    run: str
    failing: int = 0


class Task(Struct, frozen=True):
    """One task of one run."""

    run: str
    task: int
    failing: int


def task_rows(name: str) -> Participant:
    """A participant that inserts one row per task into a database of its own."""
    participant = Participant(name)

    @participant.command(name="insert")
    def insert_row(cmd: Task, ctx: Ctx) -> None:
        try:
            share = TASKS / (cmd.task - cmd.failing)
        except ZeroDivisionError as error:
            raise Refused(f"task {cmd.task}: {error}") from error
        ctx.connection.execute(insert(rows).values(run=cmd.run, task=cmd.task, share=share))

    @insert_row.undo(name="delete")
    def delete_row(cmd: Task, ctx: Ctx) -> None:
        ctx.connection.execute(delete(rows).where(rows.c.run == cmd.run, rows.c.task == cmd.task))

    return participant


north, south, archive = participants = (task_rows("north"), task_rows("south"), task_rows("archive"))

conditional_commit = Saga(
    "conditional-commit",
    group(
        *(
            step(
                f"task-{number}",
                to=participants[number % len(participants)].name,
                do="insert",
                undo="delete",
                args={"run": arg.run, "task": number, "failing": arg.failing},
            )
            for number in range(1, TASKS + 1)
        )
    ),
    version=1,
    deadline="5m",
    input=Run,
)
