"""amends in a Celery app: tasks as the steps of sagas, and tasks that are sent only if a transaction commits.

    ledger = CeleryParticipant("ledger", app, database="postgresql+psycopg://...")

    @ledger.task
    def book(cmd: Booking, ctx: Ctx) -> None:
        ctx.session.add(Entry(...))

Needs Celery 5.4 or newer, and RabbitMQ.
"""

from __future__ import annotations

from importlib.util import find_spec

from amends.db.errors import MissingExtra

if find_spec("celery") is None:
    raise MissingExtra("amends.participants.celery", "celery")

from amends.outbox.celery import aapply_async, adelay, apply_async, delay, task_message
from amends.participants.celery.participant import CeleryParticipant

__all__ = ["CeleryParticipant", "aapply_async", "adelay", "apply_async", "delay", "task_message"]
