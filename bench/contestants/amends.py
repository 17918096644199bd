"""amends as a user runs it: `amends coordinator`, `amends participant` for each service, a relay beside the front."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from uuid import uuid4

import msgspec

from amends.db.engines import open_engine, transaction
from amends.db.private_postgres import free_port
from amends.demo.replay import replay_all
from amends.outbox.broker import open_broker
from amends.outbox.ports import Broker, command_queue
from amends.outbox.wire import saga_id_of
from amends.participants import Client
from bench.contestants.coordinated import Tables
from bench.contestants.databases import Databases, databases, sqlalchemy_url
from bench.contestants.processes import Processes
from bench.order import NAME, PARTICIPANTS, order
from bench.servers import Servers
from bench.shop import bench_order

READY_S = 60.0


class Amends:
    """Running."""

    def __init__(
        self, name: str, processes: Processes, made: Databases, broker: Broker, prefix: str, port: int
    ) -> None:
        self.name = name
        self._processes = processes
        self._made = made
        self._tables = Tables(made)
        self._broker = broker
        self._prefix = prefix
        self._front = open_engine(sqlalchemy_url(made.front))
        self._client = Client("front", prefix=prefix)
        self._placed = 0
        self._port = port
        self._doors = threading.local()
        self._counting = threading.Lock()

    @property
    def parts(self) -> Mapping[str, int]:
        return self._processes.pids

    @property
    def processes(self) -> Processes:
        """To pause parts and resume them."""
        return self._processes

    def await_ready(self) -> None:
        """Until the first coordinator is. Raises: TimeoutError; RuntimeError if a process has ended."""
        await_ready(self._port, self._processes)

    def listens(self, participant: str) -> bool:
        """Whether a worker of this participant takes commands."""
        queue = command_queue(self._prefix, participant, undo=False)
        state = self._broker.look([queue], timeout_s=5.0)[queue]
        return state is not None and state.consumers > 0

    def place(self, numbers: Sequence[str]) -> None:
        with transaction(self._front) as connection:
            for number in numbers:
                self._client.start(connection, bench_order, order(number), key=number)
        self._placed += len(numbers)

    def turn(self) -> None:
        """The relay runs by itself."""

    def ended(self) -> int:
        self._processes.check()
        return self._tables.ended()

    def start(self, number: str) -> None:
        """Through the coordinator's HTTP door."""
        body = msgspec.json.encode({"name": NAME, "input": order(number), "key": number})
        if not hasattr(self._doors, "one"):
            self._doors.one = HTTPConnection("127.0.0.1", self._port)
        self._doors.one.request("POST", "/sagas", body, {"Content-Type": "application/json"})
        answer = self._doors.one.getresponse()
        said = answer.read()
        assert answer.status in (200, 201, 202), said
        with self._counting:
            self._placed += 1

    def ended_of(self, numbers: Sequence[str]) -> set[str]:
        """Which of these orders' sagas have ended."""
        return self._tables.ended_of([saga_id_of(NAME, number) for number in numbers])

    def findings(self) -> list[str]:
        """The tables' own, and each saga's log replayed through the machine."""
        engine = open_engine(sqlalchemy_url(self._made.coordinator))
        replayed = replay_all(engine)
        engine.dispose()
        return self._tables.findings(self._placed) + list(replayed[:5])

    @property
    def databases(self) -> Databases:
        """Where its parts keep what they know."""
        return self._made

    @property
    def prefix(self) -> str:
        """What its queues begin with."""
        return self._client.prefix


@contextmanager
def amends(
    servers: Servers,
    *,
    batch: int = 1,
    coordinators: int = 1,
    workers: int = 1,
    sagas: Sequence[str] = ("bench.shop:bench_order",),
    prepare: Callable[[Databases], None] | None = None,
) -> Iterator[Amends]:
    """Running until the block ends. `batch` new commands share a participant's transaction.

    `prepare` gets the databases before anything runs on them.
    """
    prefix = f"bench-{uuid4().hex[:8]}"
    with databases(servers) as made, Processes() as processes:
        if prepare is not None:
            prepare(made)
        ports = [free_port() for _ in range(coordinators)]
        for number, port in enumerate(ports):
            # The first applies the definition; the others find it.
            apply = [word for saga in sagas for word in ("--apply", saga)] if number == 0 else []
            processes.start(
                f"coordinator{number or ''}",
                *("amends.db.cli", "coordinator", *apply, "--port", str(port)),
                env=_settings(made.coordinator, servers, prefix),
            )
            await_ready(port, processes)
        for name in PARTICIPANTS:
            for number in range(workers):
                processes.start(
                    f"{name}{number or ''}",
                    *(
                        "amends.db.cli",
                        "participant",
                        f"bench.shop:{name}",
                        "--batch",
                        str(batch),
                        "--threads",
                        "1" if batch > 1 else "4",
                    ),
                    # A batch at hand must leave room for the hard limit of each (B8).
                    *("--time-limit", f"{min(60, 500 // batch)}"),
                    env=_settings(made.participants[name], servers, prefix),
                )
        processes.start(
            "relay",
            *("amends.db.cli", "relay", "--service", "front"),
            env=_settings(made.front, servers, prefix),
        )
        name = "amends" if batch == 1 else f"amends, batch={batch}"
        yield Amends(name, processes, made, open_broker(servers.broker_url), prefix, ports[0])


def _settings(database: str, servers: Servers, prefix: str) -> dict[str, str]:
    return {
        "AMENDS_DATABASE_URL": sqlalchemy_url(database),
        "AMENDS_BROKER_URL": servers.broker_url,
        "AMENDS_PREFIX": prefix,
    }


def await_ready(port: int, processes: Processes) -> None:
    """Until the coordinator with this door is. Raises: TimeoutError; RuntimeError if a process has ended."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            door = HTTPConnection("127.0.0.1", port, timeout=5)
            door.request("GET", "/readyz")
            if door.getresponse().status == 200:
                return
        except OSError:
            processes.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the coordinator is not ready: {processes.tails()}")
        time.sleep(0.05)
