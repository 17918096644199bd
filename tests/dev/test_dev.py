"""`amends dev`: a saga runs on it, an edit begins it anew, what it knew stays, and nothing outlives it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import psycopg
import pytest

from amends.db.private_postgres import free_port, private_directory
from amends.dev.cli import masked
from amends.participants import Client
from tests.waiting import DEADLINE_S, eventually

PARCELS = dedent("""
    from amends.coordinator import Saga, arg, chain, step
    from amends.participants import Participant, Refused

    parcels = Participant("parcels")

    @parcels.command
    def pack(cmd: dict) -> str:
        return "in paper"

    send = Saga("send", chain(step("pack", to="parcels", undo=None, args={"what": arg.what})), version=1)
""")


class Dev:
    """One `amends dev` after another, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None

    def start(self, *words: str) -> None:
        """Start it; return when the coordinator answers."""
        command = [
            sys.executable,
            *("-m", "amends.db.cli", "dev", *words),
            *("--broker", "memory", "--port", str(self.port)),
        ]
        with (self.folder / "dev.log").open("w") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, text=True)
        self.ready()

    def ready(self) -> None:
        eventually(self._answers, what="the coordinator's answer")

    def said(self) -> str:
        return (self.folder / "dev.log").read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def saga(self, key: str) -> dict[str, object]:
        """Start a saga from another process's transaction; how it ended."""
        port = (self.folder / ".amends" / "port").read_text()
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/shop") as connection:
            saga = Client("shop").start(connection, "send", {"what": "tea"}, key=key)
        found: dict[str, object] = {}

        def ended() -> bool:
            found.update(self.look(saga))
            return found["status"] in ("completed", "compensated")

        eventually(ended, what="the saga's end")
        return found

    def look(self, saga: str) -> dict[str, object]:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/sagas/{saga}", timeout=10) as answer:
                view: dict[str, object] = json.loads(answer.read())
                return view
        except URLError:
            return {"status": "unknown"}

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said()
        try:
            return bool(urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status == 200)
        except OSError:
            return False


@pytest.fixture
def dev() -> Iterator[Dev]:
    """A developer's folder, with a participant and a saga; whatever still runs in the end is stopped."""
    folder = private_directory()
    # PostgreSQL does not run as root: somebody else must be able to walk to its files.
    folder.chmod(0o711)
    (folder / "parcels.py").write_text(PARCELS)
    made = Dev(folder)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end()
    shutil.rmtree(folder)


def gone(processes: list[psutil.Process]) -> Callable[[], bool]:
    return lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


def test_a_saga_runs_an_edit_is_taken_up_and_what_was_known_stays(dev: Dev) -> None:
    dev.start("parcels:parcels", "parcels:send", "--service", "shop")
    assert dev.saga("1")["status"] == "completed"

    source = (dev.folder / "parcels.py").read_text()
    (dev.folder / "parcels.py").write_text(source + "\nsend = (\n")
    eventually(lambda: "change a file to begin anew" in dev.said(), what="the error")
    assert "SyntaxError" in dev.said()
    (dev.folder / "parcels.py").write_text(source.replace('return "in paper"', 'raise Refused("no paper")'))
    dev.ready()
    second = dev.saga("2")
    assert second["status"] == "compensated"

    assert dev.end() == 0
    dev.start("parcels:parcels", "parcels:send", "--service", "shop")
    assert dev.look(str(second["id"]))["status"] == "compensated"


def test_another_one_on_the_same_state_is_refused(dev: Dev) -> None:
    dev.start("parcels:parcels")

    second = subprocess.run(
        [sys.executable, "-m", "amends.db.cli", "dev", "--broker", "memory"],
        cwd=dev.folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert second.returncode == 1
    assert "another `amends dev` runs with the state in .amends" in second.stderr


def test_a_module_that_is_not_there_ends_it_without_reload(dev: Dev) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "amends.db.cli", "dev", "parcel:parcels", "--broker", "memory", "--no-reload"],
        cwd=dev.folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "there is no module 'parcel'" in ended.stderr


def test_nothing_outlives_a_kill(dev: Dev) -> None:
    """Guard: the house reads its standard input; the server has a guard of its own."""
    dev.start("parcels:parcels")
    assert dev.process is not None
    children = psutil.Process(dev.process.pid).children(recursive=True)
    assert len(children) >= 3

    os.kill(dev.process.pid, signal.SIGKILL)
    dev.process.wait()

    eventually(gone(children), what="the end of all that it started")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("pyamqp://shop:secret@host:5672//", "pyamqp://shop:***@host:5672//"),
        ("pyamqp://guest:guest@127.0.0.1:5672//", "pyamqp://guest:guest@127.0.0.1:5672//"),
        ("memory://dev", "memory://dev"),
    ],
)
def test_a_brokers_password_is_not_shown(url: str, shown: str) -> None:
    assert masked(url) == shown
