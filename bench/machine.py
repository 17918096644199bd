"""On what a benchmark ran."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from sqlalchemy.engine import make_url

from bench.servers import Servers

PACKAGES: Final = (
    "amends",
    "kombu",
    "amqp",
    "psycopg",
    "sqlalchemy",
    "msgspec",
    "dbos",
    "celery",
)


def described(servers: Servers) -> dict[str, Any]:
    """Machine and versions."""
    url = make_url(servers.postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    settings = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "wal_sync_method")
    with psycopg.connect(url, autocommit=True) as connection:
        postgresql = {name: str(connection.execute(f"SHOW {name}").fetchone()[0]) for name in settings}  # type: ignore[index,arg-type]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "postgresql": postgresql,
        "rabbitmq": _rabbitmq(servers),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _cpu() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _rabbitmq(servers: Servers) -> str:
    import kombu

    with kombu.Connection(servers.broker_url) as connection:
        connection.connect()
        return str(connection.connection.server_properties.get("version", ""))
