"""A Celery application: the order as a `chain` of three tasks, and its worker as a process."""

from __future__ import annotations

import os
import sys
from typing import Any, Final
from uuid import uuid4

from celery import Celery, Signature, chain

from bench.order import STEPS, order

ENDED: Final = b"."
RESULT: Final = {"reference": "R-2026-000123"}


def application(broker: str, results: str, queue: str) -> Celery:
    """The same for who places orders and for the workers; `results` is a database, or empty for no result backend."""
    app = Celery("bench", broker=broker, backend=f"db+{results}" if results else None)
    app.conf.update(
        task_acks_late=True,
        task_default_queue=queue,
        task_default_queue_type="quorum",
        task_ignore_result=not results,
        # Else a worker makes thirty quorum queues for tasks with a delay, which none has here.
        broker_native_delayed_delivery_queue_type="classic",
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
        file = os.open(ended, os.O_WRONLY | os.O_APPEND)
        os.write(file, ENDED)
        os.close(file)
        return RESULT

    return app


def placed(app: Celery, number: str) -> Signature:
    """The chain of one order; no task takes what the one before it returned."""
    fields = order(number)
    return chain(
        *(app.signature(step.path, [fields[name] for name in step.args], immutable=True) for step in STEPS)
    )


def main() -> None:
    """Run a worker until killed: BROKER RESULTS QUEUE ENDED POOL CONCURRENCY."""
    broker, results, queue, ended, pool, concurrency = sys.argv[1:]
    with_tasks(application(broker, results, queue), ended).worker_main(
        [
            "worker",
            *(f"--pool={pool}", f"--concurrency={concurrency}", f"--hostname={uuid4().hex[:8]}@localhost"),
            *("--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
    )


if __name__ == "__main__":
    main()
