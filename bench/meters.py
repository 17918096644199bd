"""What a run costs: CPU of every process, WAL, transactions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psutil
import psycopg
from sqlalchemy.engine import make_url

from bench.servers import Servers

WAL: Final = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one moment: CPU seconds by part, and bytes of WAL."""

    cpu_s: Mapping[str, float]
    wal_bytes: int


class Meter:
    """Reads counters of the servers and of some processes, by part."""

    def __init__(self, servers: Servers, parts: Mapping[str, int]) -> None:
        """`parts`: process ids by name; their children count with them."""
        self._parts = {**parts, "postgresql": servers.postgres_pid, "rabbitmq": servers.broker_pid}
        url = make_url(servers.postgres_url).set(drivername="postgresql")
        self._connection = psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def read(self) -> Reading:
        """The counters now."""
        wal = self._connection.execute(WAL).fetchone()
        assert wal is not None
        # RabbitMQ is one process; the helpers that it runs now and then end unseen, and would make it run backwards.
        cpu_s = {name: _cpu_s(pid, alone=name == "rabbitmq") for name, pid in self._parts.items()}
        return Reading(cpu_s, int(wal[0]))

    def close(self) -> None:
        """Leave the database."""
        self._connection.close()


def per_saga(before: Reading, after: Reading, sagas: int) -> dict[str, float]:
    """Milliseconds of CPU by part, and bytes of WAL, for each saga."""
    spent = {
        f"cpu_ms_{name}": round(1000 * (after.cpu_s[name] - before.cpu_s[name]) / sagas, 4)
        for name in after.cpu_s
    }
    spent["cpu_ms"] = round(sum(spent.values()), 4)
    spent["wal_bytes"] = round((after.wal_bytes - before.wal_bytes) / sagas)
    return spent


def _cpu_s(pid: int, *, alone: bool) -> float:
    """CPU seconds of a process and, but for `alone`, of all below it, the ended ones that it waited for included."""
    process = psutil.Process(pid)
    own = process.cpu_times()
    total = float(own.user + own.system)
    if alone or pid == os.getpid():
        return total  # What this process has started is all the others.
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            total += times.user + times.system
    return total + own.children_user + own.children_system
