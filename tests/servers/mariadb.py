"""MariaDB for the tests.

In this order: AMENDS_TEST_MYSQL_URL; a server of our own from an installed `mariadbd`; as root on Debian and Ubuntu,
the package `mariadb-server-core`, installed now: the programs alone, without a service or a system database.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import pymysql
from sqlalchemy import URL, make_url

from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port, tail
from tests.servers import ServerUnavailable
from tests.servers.debian import can_install, install, one_at_a_time
from tests.servers.rooms import server_directory

_START_S: Final = 60.0
_TRIES: Final = 4
_USER: Final = "amends"
_SCRIPTS: Final = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
_MEND: Final = """\
no MariaDB for the tests. Do one of these, then run again:
  - install it (it need not run): apt-get install mariadb-server-core | brew install mariadb
  - give a server: AMENDS_TEST_MYSQL_URL=mysql+pymysql://user:password@host:3306/mysql (may create databases)
"""


class MariaServer:
    """A server, and the databases the tests make on it."""

    def __init__(self, url: str) -> None:
        """`url` is of a user who may create databases."""
        self.url: Final = make_url(url).set(drivername="mysql+pymysql")

    def create_database(self) -> str:
        """A new, empty database; its URL, for SQLAlchemy."""
        name = f"t_{uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {name}")
        return self.url.set(database=name).render_as_string(hide_password=False)

    def drop_database(self, url: str) -> None:
        """Delete a database."""
        self.run(f"DROP DATABASE IF EXISTS {make_url(url).database}")

    def run(self, statement: str) -> list[tuple[object, ...]]:
        """What a statement of the server's administrator answers."""
        with _connected(self.url) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())


class PrivateMaria:
    """A server of our own, listening on 127.0.0.1 alone: stop, start, kill. Its port stays the same."""

    def __init__(self, program: Path) -> None:
        self._directory = server_directory()
        self._log = self._directory / "log"
        self._data = self._directory / "data"
        self._temporary = self._directory / "tmp"
        self._temporary.mkdir()
        self._port = free_port()
        initial = self._directory / "initial.sql"
        # The file is run at every start.
        initial.write_text(
            f"CREATE USER IF NOT EXISTS {_USER} IDENTIFIED BY '{_USER}';\n"
            f"GRANT ALL ON *.* TO {_USER} WITH GRANT OPTION;\n"
        )
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        self._command = [
            str(program),
            "--no-defaults",
            *as_root,
            f"--datadir={self._data}",
            # A server that starts deletes what it takes for an earlier one's temporary tables: another's, in /tmp.
            f"--tmpdir={self._temporary}",
            "--performance-schema=OFF",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=32M",
            # Safe against a kill of the server, not of the machine.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-doublewrite=OFF",
            "--innodb-use-native-aio=OFF",
        ]
        self._server = Guarded(
            [
                *self._command,
                f"--socket={self._directory / 'socket'}",
                f"--pid-file={self._directory / 'pid'}",
                f"--init-file={initial}",
                "--bind-address=127.0.0.1",
                f"--port={self._port}",
                "--skip-name-resolve",
                "--skip-log-bin",
                "--max-connections=300",
                "--default-time-zone=+05:00",  # Whoever reads a local clock instead of UTC is found out.
            ],
            directory=self._directory,
            log=self._log,
            remove=[self._directory],
        )

    @property
    def url(self) -> str:
        """Where it is, as a user who may create databases."""
        return URL.create(
            "mysql+pymysql", _USER, _USER, "127.0.0.1", self._port, database="mysql"
        ).render_as_string(hide_password=False)

    def prepare(self, scripts: Path) -> None:
        """Make the data directory, as `mariadb-install-db` does. Raises: ServerUnavailable."""
        self._data.mkdir()
        tables = "".join((scripts / name).read_text() for name in _SCRIPTS)
        ended = subprocess.run(
            [*self._command, "--bootstrap"],
            input=f"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n{tables}",
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_S,
        )
        if ended.returncode:
            raise ServerUnavailable(f"{_MEND}(mariadbd --bootstrap: {ended.stderr.strip()[-500:]})")

    def start(self) -> None:
        """Start on what it knew before; return when it takes connections. Raises: ServerUnavailable."""
        if self._server.alive():
            return
        self._server.start()
        deadline = time.monotonic() + _START_S
        while not _answers(make_url(self.url)):
            if not self._server.alive() or time.monotonic() > deadline:
                raise ServerUnavailable(f"MariaDB did not start; it said: {tail(self._log, 8)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Shut it down in good order."""
        self._server.stop()

    def kill(self) -> None:
        """`kill -9`."""
        self._server.kill()

    def close(self) -> None:
        """End it, and delete all it kept."""
        self._server.kill()
        self._server.close()
        shutil.rmtree(self._directory, ignore_errors=True)


@contextmanager
def mariadb_server() -> Iterator[MariaServer]:
    """The server every test of a run shares. Raises: ServerUnavailable."""
    given = os.environ.get("AMENDS_TEST_MYSQL_URL")
    if given:
        try:
            _connected(make_url(given)).close()
        except pymysql.MySQLError as error:
            raise ServerUnavailable(f"AMENDS_TEST_MYSQL_URL does not answer: {error}") from error
        yield MariaServer(given)
        return
    with private_mariadb_server() as private:
        yield MariaServer(private.url)


@contextmanager
def private_mariadb_server() -> Iterator[PrivateMaria]:
    """A server of our own. Raises: ServerUnavailable with what to do."""
    server = _started(*_programs())
    try:
        yield server
    finally:
        server.close()


def _started(program: Path, scripts: Path) -> PrivateMaria:
    for last in (False,) * (_TRIES - 1) + (True,):
        server = PrivateMaria(program)
        try:
            server.prepare(scripts)
            server.start()
        except ServerUnavailable as error:
            server.close()
            # Somebody else may have taken the port between our look and the server's.
            if last or "already in use" not in str(error):
                raise
            continue
        except BaseException:
            server.close()
            raise
        return server
    raise AssertionError("the last try raises")


def _programs() -> tuple[Path, Path]:
    """The server and its scripts, installed if they are missing. Raises: ServerUnavailable."""
    if can_install():
        # Looked for under the lock: what another process is only just installing can be seen before it can run.
        with one_at_a_time():
            if _installed() is None:
                try:
                    install("mariadb-server-core")
                except ServerUnavailable as error:
                    raise ServerUnavailable(f"{_MEND}({error})") from error
    found = _installed()
    if found is None:
        raise ServerUnavailable(_MEND)
    return found


def _installed() -> tuple[Path, Path] | None:
    """The server's program, and the folder with the scripts that make its own tables."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    program = shutil.which("mariadbd", path=places)
    if program is None:
        return None
    root = Path(program).resolve().parent.parent
    for folder in (root / "share" / "mysql", root / "share" / "mariadb", root / "share"):
        if all((folder / name).exists() for name in _SCRIPTS):
            return Path(program), folder
    return None


def _connected(url: URL) -> pymysql.Connection:  # type: ignore[type-arg,unused-ignore]
    return pymysql.connect(
        host=url.host,
        port=url.port or 3306,
        user=url.username,
        password=url.password or "",
        database=url.database,
        autocommit=True,
        connect_timeout=5,
    )


def _answers(url: URL) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((url.host, url.port)):
            return False
    try:
        _connected(url).close()
    except pymysql.MySQLError:
        return False
    return True
