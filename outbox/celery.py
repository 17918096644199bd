"""Celery tasks that are sent only if a transaction commits, and then for certain.

    from amends import outbox

    with Session(engine) as session, session.begin():
        session.add(order)
        outbox.delay(session, send_receipt, order.id)

The call is a row of the outbox; a relay publishes it to the same RabbitMQ that the app's workers, which know nothing
of amends, consume from. Like `put` these only insert. `apply_async` takes Celery's options; `adelay` and
`aapply_async` are for asynchronous sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amends.outbox.celery_messages import task_message
from amends.outbox.putting import TABLE, AsyncPutter, Putter, aput, put

__all__ = ["aapply_async", "adelay", "apply_async", "delay", "task_message"]


def delay(session: Putter, task: Any, /, *args: Any, **kwargs: Any) -> str:
    """Call a Celery task with these arguments once the transaction of `session` has committed; gives the task's id.

    Raises: as `task_message` and `put` do.
    """
    return apply_async(session, task, args, kwargs)


def apply_async(
    session: Putter,
    task: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    table: str = TABLE,
    schema: str | None = None,
    **options: Any,
) -> str:
    """As `delay`, with Celery's options: countdown, eta, expires, task_id, queue, priority, headers, link ...

    Raises: as `task_message` and `put` do.
    """
    task_id, message = task_message(task, args, kwargs, **options)
    put(session, message, table=table, schema=schema)
    return task_id


async def adelay(session: AsyncPutter, task: Any, /, *args: Any, **kwargs: Any) -> str:
    """As `delay`, on an AsyncSession or another session that `aput` takes."""
    return await aapply_async(session, task, args, kwargs)


async def aapply_async(
    session: AsyncPutter,
    task: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    table: str = TABLE,
    schema: str | None = None,
    **options: Any,
) -> str:
    """As `apply_async`, on an AsyncSession or another session that `aput` takes."""
    task_id, message = task_message(task, args, kwargs, **options)
    await aput(session, message, table=table, schema=schema)
    return task_id
