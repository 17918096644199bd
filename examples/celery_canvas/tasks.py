"""The tasks of the example: once as Celery has them, once as steps of sagas that run in the same Celery workers."""

from __future__ import annotations

import os

from celery import Celery
from msgspec import Struct

from amends.participants.celery import CeleryParticipant

app = Celery("celery-canvas", backend=os.environ.get("CANVAS_RESULTS"))  # Its broker is CELERY_BROKER_URL.
app.conf.task_default_queue = os.environ.get("CANVAS_QUEUE", "canvas")
app.conf.broker_connection_retry_on_startup = True
app.conf.result_chord_retry_interval = 0.1


@app.task
def add(left: int, right: int) -> int:
    """One number and another."""
    return left + right


@app.task
def double(number: int) -> int:
    """Twice a number."""
    return 2 * number


@app.task
def total(numbers: list[int]) -> int:
    """All numbers together."""
    return sum(numbers)


class Pair(Struct, frozen=True):
    """Two numbers."""

    left: int
    right: int


sums = CeleryParticipant("sums", app, database=os.environ.get("SUMS_DATABASE_URL"))


@sums.task(name="add")
def add_step(cmd: Pair) -> int:
    """`add`, as a command."""
    return cmd.left + cmd.right


@sums.task(name="add-all")
def add_all_step(cmd: list[tuple[int, int]]) -> list[int]:
    """`add` of several pairs, as a command."""
    return [left + right for left, right in cmd]


@sums.task(name="double")
def double_step(cmd: int) -> int:
    """`double`, as a command."""
    return 2 * cmd


@sums.task(name="total")
def total_step(cmd: list[int]) -> int:
    """`total`, as a command."""
    return sum(cmd)
