"""A run of the tests leaves no process, port or directory behind, however it ends; and without servers it says so."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from amends.dev.rabbit_node import installed_programs
from tests.house.sources import ROOT
from tests.servers.debian import no_service_starts
from tests.waiting import DEADLINE_S, eventually

_A_LONG_TEST = """
import time

def test_that_takes_long(postgres, rabbit):
    print(postgres.url, rabbit.url, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory for temporary files that the servers' user can reach, with a short name, as sockets need."""
    path = Path(tempfile.mkdtemp(prefix="amends-room-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextmanager
def _run(room: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Another run of pytest, whose temporary files are in `room`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AMENDS_")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        "pyproject.toml",
        "-p",
        "no:cacheprovider",
        "-s",
        "-q",
        *arguments,
    ]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**clean, "TMPDIR": str(room), "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_behind(room: Path, number: signal.Signals) -> None:
    (room / "test_long.py").write_text(_A_LONG_TEST)
    with _run(room, "-p", "tests.conftest", str(room / "test_long.py")) as run:
        assert run.stdout is not None
        urls = next(line for line in run.stdout if "pyamqp://" in line)
        assert len(_servers(room)) > 2, urls

        run.send_signal(number)
        run.wait(DEADLINE_S)

    eventually(lambda: not _servers(room), what="every server, guard and epmd to end")
    eventually(lambda: not list(room.glob("amends-*")), what="their directories to be deleted")
    assert not _listening(int(urls.split("@127.0.0.1:")[-1].strip().rstrip("/.")))


def test_a_broker_that_does_not_answer_ends_the_run_at_once_and_says_so(room: Path) -> None:
    with _run(room, "tests/house/test_servers.py", AMENDS_TEST_AMQP_URL="amqp://127.0.0.1:1") as run:
        said = run.communicate(timeout=DEADLINE_S)[0]

    assert run.returncode == 4
    assert "AMENDS_TEST_AMQP_URL does not answer" in said
    assert "passed" not in said
    assert not _servers(room)


def test_a_postgresql_that_does_not_answer_ends_the_run_at_once_and_says_so(room: Path) -> None:
    url = "postgresql://127.0.0.1:1/postgres"
    with _run(room, "tests/house/test_servers.py", AMENDS_TEST_POSTGRES_URL=url) as run:
        said = run.communicate(timeout=DEADLINE_S)[0]

    assert run.returncode == 4
    assert "AMENDS_TEST_POSTGRES_URL does not answer" in said
    assert "passed" not in said


_NO_BROKER = """
from tests.servers import ServerUnavailable, rabbit
rabbit.installed_programs = lambda: None
rabbit.docker = lambda: None
rabbit.can_install = lambda: False
try:
    with rabbit.rabbit_server():
        pass
except ServerUnavailable as error:
    print(error)
"""


def test_where_no_broker_can_be_had_each_way_to_one_is_told() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AMENDS_")}
    ended = subprocess.run(
        [sys.executable, "-c", _NO_BROKER], cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    )

    for way in ("apt-get install rabbitmq-server", "start Docker", "AMENDS_TEST_AMQP_URL=amqp://"):
        assert way in ended.stdout


@pytest.mark.parametrize("stood", [True, False])
def test_a_package_is_installed_without_starting_its_service(tmp_path: Path, stood: bool) -> None:
    policy = tmp_path / "policy-rc.d"
    if stood:
        policy.write_text("#!/bin/sh\nexit 104\n")

    with no_service_starts(policy):
        assert subprocess.run([policy], check=False).returncode == 101

    assert policy.exists() == stood
    assert not stood or "104" in policy.read_text()
    assert [path.name for path in tmp_path.iterdir()] == (["policy-rc.d"] if stood else [])


def test_a_policy_that_a_killed_run_left_is_not_taken_for_the_machines_own(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n")
    with no_service_starts(policy):
        left = policy.read_text()
        (tmp_path / "aside").write_text((tmp_path / "policy-rc.d.amends").read_text())
    policy.write_text(left)
    (tmp_path / "aside").rename(tmp_path / "policy-rc.d.amends")

    with no_service_starts(policy):
        pass

    assert "104" in policy.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["policy-rc.d"]


_INSTALLER = """
import sys, time
from pathlib import Path
from tests.servers.debian import one_at_a_time
with one_at_a_time(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_processes_that_all_miss_a_server_install_it_one_at_a_time(tmp_path: Path) -> None:
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", _INSTALLER, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    )
    assert first.stdout is not None
    assert second.stdout is not None
    ready, _, _ = select.select([first.stdout, second.stdout], [], [], 60)
    inside, outside = (first, second) if ready == [first.stdout] else (second, first)
    assert ready == [inside.stdout]
    # The other one is kept out, for as long as this one is inside.
    assert select.select([outside.stdout], [], [], 1)[0] == []

    inside.kill()
    inside.communicate()

    assert select.select([outside.stdout], [], [], 60)[0] == [outside.stdout]
    outside.communicate()
    assert list(tmp_path.iterdir()) == []


def test_the_node_is_made_of_the_servers_own_scripts_not_of_the_wrapper_on_the_path() -> None:
    programs = installed_programs()

    assert programs is None or (programs / "rabbitmq-env").exists()


def _servers(room: Path) -> list[str]:
    """Whatever runs with this room on its command line or as its working directory, but for pytest itself."""
    found = []
    for process in psutil.process_iter():
        try:
            words, place = " ".join(process.cmdline()), process.cwd()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if f"{room}/amends-" in words or place.startswith(f"{room}/amends-"):
            found.append(words)
    return found


def _listening(port: int) -> bool:
    return any(c.laddr.port == port for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN)
