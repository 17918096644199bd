"""A run against real servers: a coordinator and three participants, each a process of its own."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.request import urlopen
from uuid import uuid4

from sqlalchemy import Engine

from amends.db.engines import database_url
from amends.db.errors import UnsupportedDatabase
from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port, tail
from amends.demo.config import child_environment
from amends.demo.databases import made_databases, url_of
from amends.demo.errors import DemoUnfinished
from amends.demo.evidence import Databases
from amends.demo.exposition import Samples, read_samples
from amends.demo.shop.definition import Order
from amends.demo.stage import PARTICIPANTS, Stage, topology
from amends.outbox.broker import open_broker
from amends.outbox.ports import Topology, dead_letter_queue
from amends.outbox.removal import remove

DEFINITION: Final = "amends.demo.shop.definition:place_order"
READY_S: Final = 60.0
LOOK_S: Final = 0.1
ANSWER_S: Final = 10.0


class ProcessStage:
    """The commands a service would run, with a queue prefix of this run's own."""

    words = "real servers, a process for each service"

    def __init__(self, databases: Databases, broker_url: str, directory: Path, running: ExitStack) -> None:
        self.databases = databases
        self.prefix = f"amends-demo-{uuid4().hex[:8]}"
        self.broker = open_broker(broker_url, name="amends demo front")
        self._broker_url = broker_url
        self._directory = directory
        self._door = f"http://127.0.0.1:{(port := free_port())}"
        self._running = running
        running.callback(self._forget_queues)
        self._coordinator = self._process(
            "coordinator", databases.coordinator, "coordinator", "--apply", DEFINITION, "--port", str(port)
        )
        self._participants = [
            self._process(
                name, databases.participants()[name], "participant", f"amends.demo.shop.{name}:{name}"
            )
            for name in PARTICIPANTS
        ]

    def start(self) -> None:
        """Start them all; returns when the coordinator is ready. Raises: DemoUnfinished."""
        for process in (self._coordinator, *self._participants):
            process.start()
        deadline = time.monotonic() + READY_S
        while self._asked("/readyz") is None:
            self.watch()
            if time.monotonic() > deadline:
                raise DemoUnfinished(
                    f"the coordinator is not ready after {READY_S:g} s; {self._log_of('coordinator')}"
                )
            time.sleep(LOOK_S)

    def watch(self) -> None:
        """Raises: DemoUnfinished, with the end of its log, if a process has ended."""
        for name, process in zip(
            ("coordinator", *PARTICIPANTS), (self._coordinator, *self._participants), strict=True
        ):
            if not process.alive():
                raise DemoUnfinished(f"the process of {name} has ended; {self._log_of(name)}")

    def metrics(self) -> Samples | None:
        """What the coordinator's /metrics says."""
        text = self._asked("/metrics")
        return None if text is None else read_samples(text)

    def log(self) -> Sequence[str]:
        """How each process's log ends."""
        return [f"{name}: {tail(self._directory / f'{name}.log')}" for name in ("coordinator", *PARTICIPANTS)]

    def rest(self) -> Mapping[str, int]:
        """Stop the participants, then the coordinator, which has their last answers by then."""
        for process in (*self._participants, self._coordinator):
            process.stop()
        return self._forget_queues()

    def _forget_queues(self) -> Mapping[str, int]:
        held = remove(self._broker_url, topology(self.prefix))
        held.pop(dead_letter_queue(self.prefix))
        return held

    def _process(self, name: str, database: Engine, *arguments: str) -> Guarded:
        process = Guarded(
            [sys.executable, "-m", "amends.db.cli", *arguments],
            directory=self._directory,
            log=self._directory / f"{name}.log",
            env=child_environment(
                AMENDS_DATABASE_URL=url_of(database),
                AMENDS_BROKER_URL=self._broker_url,
                AMENDS_PREFIX=self.prefix,
            ),
        )
        self._running.callback(process.close)
        return process

    def _asked(self, path: str) -> str | None:
        try:
            with urlopen(self._door + path, timeout=ANSWER_S) as answer:
                text: str = answer.read().decode()
                return text
        except (OSError, HTTPException):
            return None

    def _log_of(self, name: str) -> str:
        return f"its log ends: {tail(self._directory / f'{name}.log')}"


@contextmanager
def process_stage(
    server_url: str, broker_url: str, orders: Sequence[Order], *, faults: bool
) -> Iterator[Stage]:
    """A stage on real servers for these orders; its databases and queues are gone at the end.

    Raises: StoreUnavailable, BrokerUnavailable, UnsupportedDatabase, UnsupportedBroker, DemoUnfinished.
    """
    if database_url(server_url).get_backend_name() != "postgresql":
        raise UnsupportedDatabase("the demo works on PostgreSQL")
    remove(broker_url, Topology())  # What cannot be used is told before anything is made.
    with (
        tempfile.TemporaryDirectory(prefix="amends-demo-") as directory,
        made_databases(server_url, orders, faults=faults) as databases,
        ExitStack() as running,
    ):
        stage = ProcessStage(databases, broker_url, Path(directory), running)
        stage.start()
        yield stage
