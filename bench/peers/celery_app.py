"""A Celery application: the order as a `chain` of three tasks, and its worker as a process."""

from __future__ import annotations

import os
import sys
from typing import Any, Final
from uuid import uuid4

from celery import Celery, Signature, chain
from celery.signals import worker_ready

from bench.order import STEPS, order

RESULT: Final = {"reference": "R-2026-000123"}


def application(broker: str, results: str, queue: str) -> Celery:
    """The same for who places orders and for the workers; `results` is a database, or empty for no result backend."""
    app = Celery("bench", broker=broker, backend=f"db+{results}" if results else None)
    app.conf.update(
        task_acks_late=True,
        task_default_queue=queue,
        task_default_queue_type="quorum",
        task_ignore_result=not results,
        # Else a worker makes 28 quorum queues for tasks with a delay, which none has here.
        broker_native_delayed_delivery_queue_type="classic",
        # For tasks that take no time; the default is 4.
        worker_prefetch_multiplier=100,
        worker_enable_remote_control=False,
        # By default each use of a connection first asks whether it lives.
        database_engine_options={"pool_pre_ping": False},
    )
    return app


def with_tasks(app: Celery, ended: str) -> Celery:
    """The tasks, for workers. `ended`: the file to which the last task of each chain appends a byte."""

    @app.task(name="reserve")
    def reserve(_number: str, _lines: list[dict[str, Any]]) -> dict[str, str]:
        return RESULT

    @app.task(name="charge")
    def charge(_number: str, _card: str, _amount_cents: int) -> dict[str, str]:
        return RESULT

    @app.task(name="dispatch")
    def dispatch(_number: str, _address: dict[str, str]) -> dict[str, str]:
        _count(ended)
        return RESULT

    return app


def placed(app: Celery, number: str) -> Signature:
    """The chain of one order; no task takes what the one before it returned."""
    fields = order(number)
    return chain(
        *(app.signature(step.path, [fields[name] for name in step.args], immutable=True) for step in STEPS)
    )


def _count(file: str) -> None:
    """One more byte: several processes may append at the same time."""
    opened = os.open(file, os.O_WRONLY | os.O_APPEND)
    os.write(opened, b".")
    os.close(opened)


def main() -> None:
    """Run a worker until killed: BROKER RESULTS QUEUE ENDED READY POOL CONCURRENCY."""
    broker, results, queue, ended, ready, pool, concurrency = sys.argv[1:]

    def tell(**_: object) -> None:
        _count(ready)

    worker_ready.connect(tell, weak=False)
    with_tasks(application(broker, results, queue), ended).worker_main(
        [
            "worker",
            *(f"--pool={pool}", f"--concurrency={concurrency}", f"--hostname={uuid4().hex[:8]}@localhost"),
            *("--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
    )


if __name__ == "__main__":
    main()
