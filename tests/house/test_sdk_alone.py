"""The SDK where nothing but its own dependencies is installed: it works, and loads none of the coordinator's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

import pytest

from tests.house.sources import ROOT
from tests.waiting import DEADLINE_S

# What `pip install amends` brings, with all that these need themselves, on any platform and Python.
BROUGHT: Final = {
    "amqp",
    "colorama",
    "greenlet",
    "kombu",
    "msgspec",
    "packaging",
    "prometheus-client",
    "six",
    "sqlalchemy",
    "tenacity",
    "typing-extensions",
    "tzdata",
    "vine",
}

# What a worker and a client have loaded of other people's after a saga's command was obeyed.
LOADED: Final = {
    "amends",
    "amqp",
    "greenlet",
    "kombu",
    "msgspec",
    "packaging",
    "prometheus_client",
    "sqlalchemy",
    "tenacity",
    "typing_extensions",
    "vine",
}

PROGRAM: Final = """
import json, sys, tempfile, time, uuid
from amends.db import participant as tables
from amends.db.engines import open_engine, transaction
from amends.outbox import Message, open_broker, put
from amends.outbox.wire import COMMAND, Command, Op, encode
from amends.participants import CircuitBreaker, Client, Participant, Refused

shop = Participant("shop")

@shop.command
def buy(cmd: dict) -> dict:
    return {"bought": cmd}

saga = str(uuid.uuid4())
command = Command(saga=saga, name="order", path="buy", op=Op.DO, command="buy", round=1, attempt=1,
                  args={"sku": "tea"}, started_at=time.time_ns() // 1_000_000)
message = Message(routing_key="amends.shop.do", type=COMMAND, body=encode(command), correlation_id=saga,
                  reply_to="amends.coordinator")
with tempfile.TemporaryDirectory() as directory:
    engine = open_engine(f"sqlite:///{directory}/shop.sqlite")
    tables.create(engine)
    broker = open_broker("memory://alone")
    worker = shop.worker(database=engine, broker=broker)
    worker.start()
    replies = broker.consumer(["amends.coordinator"], prefetch=1)
    with transaction(engine) as connection:
        put(connection, message)
    deadline = time.monotonic() + 30
    while not (come := replies.receive(1.0)):
        assert time.monotonic() < deadline
    assert json.loads(come[0].body)["result"] == {"bought": {"sku": "tea"}}, come[0].body
    replies.ack([come[0].tag])
    replies.receive(0.0)
    replies.close()
    worker.stop()
    engine.dispose()
loaded = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
print(json.dumps(sorted(name for name in loaded if not name.startswith(("_", "cython")))))
"""


def closure() -> dict[str, Distribution]:
    """The distributions that the SDK needs here, by name."""
    found: dict[str, Distribution] = {}
    todo = ["amends"]
    while todo:
        name = todo.pop()
        for line in distribution(name).requires or ():
            needed = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-")
            if "extra ==" in line or needed in found:
                continue
            try:
                found[needed] = distribution(needed)
            except ModuleNotFoundError:
                continue  # For another platform, or an older Python.
            todo.append(needed)
    return found


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder in which the SDK and its own dependencies can be imported, and nothing else."""
    for one in closure().values():
        for name in {Path(str(file)).parts[0] for file in one.files or () if not str(file).startswith("..")}:
            link = tmp_path / name
            if not link.exists():
                link.symlink_to(Path(str(one.locate_file(name))))
    (tmp_path / "amends").mkdir()
    for package in ("participants", "outbox", "db"):
        shutil.copytree(
            ROOT / package, tmp_path / "amends" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def test_the_sdk_brings_only_what_it_says() -> None:
    assert set(closure()) <= BROUGHT


def test_the_sdk_works_alone_and_loads_none_of_the_coordinators_dependencies(alone: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(alone)!r})\n{PROGRAM}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )

    assert ended.returncode == 0, ended.stderr
    assert set(json.loads(ended.stdout)) <= LOADED
