"""Real Celery workers for the examples: `celery -A MODULE worker`, processes of their own that end with the example."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from amends.db.guarded import Guarded
from amends.db.private_postgres import tail
from amends.outbox.ports import Broker

ROOT: Final = Path(__file__).parents[1]
READY_S: Final = 60.0


@contextmanager
def celery_workers(
    module: str, queue: str, broker: Broker, count: int, environment: Mapping[str, str]
) -> Iterator[list[Guarded]]:
    """So many workers on a queue, each with two processes; all are consuming when the block begins.

    Raises: TimeoutError, with what they have said.
    """
    with tempfile.TemporaryDirectory(prefix="amends-celery-") as directory, ExitStack() as stack:
        log = Path(directory) / "celery.log"
        workers = []
        for number in range(count):
            worker = Guarded(
                [
                    sys.executable, "-m", "celery", "-A", module, "worker", "-P", "prefork", "-c", "2", "-Q", queue,
                    "-n", f"{queue}-{number}@localhost", "--without-gossip", "--without-mingle", "-l", "WARNING",
                ],
                directory=ROOT,
                log=log,
                env={**os.environ, **environment},
            )  # fmt: skip
            stack.callback(worker.close)
            worker.start()
            workers.append(worker)
        _await_consumers(broker, queue, count, log)
        yield workers
        # They have nothing left to do, and to end quickly is all that is asked of them.
        for worker in workers:
            worker.kill()


def _await_consumers(broker: Broker, queue: str, count: int, log: Path) -> None:
    deadline = monotonic() + READY_S
    while True:
        state = broker.look([queue], timeout_s=5.0)[queue]
        if state is not None and state.consumers >= count:
            return
        if monotonic() > deadline:
            raise TimeoutError(
                f"no {count} Celery workers within {READY_S:g} s; their log ends:\n{tail(log)}"
            )
        sleep(0.1)
