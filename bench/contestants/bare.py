"""The bare loop: a coordinator and three participants as processes (bench/bare)."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import uuid4

from amends.db.private_postgres import free_port
from bench.bare.front import BareFront, saga_of, start
from bench.contestants.coordinated import Tables
from bench.contestants.databases import databases
from bench.contestants.processes import Processes
from bench.order import PARTICIPANTS
from bench.servers import Servers

READY_S = 30.0


class Bare:
    """Running."""

    name = "bare loop"

    def __init__(self, processes: Processes, front: BareFront, tables: Tables, port: int) -> None:
        self._processes = processes
        self._front = front
        self._tables = tables
        self._placed = 0
        self._port = port
        self._doors = threading.local()
        self._counting = threading.Lock()
        _connected(port).close()

    @property
    def parts(self) -> Mapping[str, int]:
        return self._processes.pids

    def place(self, numbers: Sequence[str]) -> None:
        self._front.place(list(numbers))
        self._placed += len(numbers)

    def turn(self) -> None:
        self._front.turn()

    def ended(self) -> int:
        self._processes.check()
        return self._tables.ended()

    def start(self, number: str) -> None:
        """Through the loop's door."""
        if not hasattr(self._doors, "one"):
            self._doors.one = _connected(self._port)
        self._doors.one.sendall(json.dumps(start(number)).encode() + b"\n")
        assert self._doors.one.recv(64) == b"ok\n"
        with self._counting:
            self._placed += 1

    def ended_of(self, numbers: Sequence[str]) -> set[str]:
        """Which of these orders' sagas have ended."""
        return self._tables.ended_of([saga_of(number) for number in numbers])

    def findings(self) -> list[str]:
        return self._tables.findings(self._placed)


@contextmanager
def bare(servers: Servers) -> Iterator[Bare]:
    """Running until the block ends."""
    prefix = f"bare-{uuid4().hex[:8]}"
    with databases(servers) as made, Processes() as processes:
        port = free_port()
        processes.start(
            "coordinator", "bench.bare.coordinator", made.coordinator, servers.broker_url, prefix, str(port)
        )
        for name in PARTICIPANTS:
            processes.start(
                name, "bench.bare.participant", made.participants[name], servers.broker_url, prefix, name
            )
        front = BareFront(made.front, servers.broker_url, prefix)
        yield Bare(processes, front, Tables(made), port)


def _connected(port: int) -> socket.socket:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
