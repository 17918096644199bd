"""A PostgreSQL server of our own, in a directory of its own, from a folder of PostgreSQL programs.

It listens on a socket inside its directory, and on 127.0.0.1 only if given a port. PostgreSQL refuses to run as
root; as root it runs as an unprivileged user that is already there, and nobody else's folders are opened to it.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from amends.db.errors import EmbeddedUnavailable
from amends.db.guarded import Guarded
from amends.db.programs import Programs, enterable_by_all

# Below the range from which systems hand out ports, so that a stopped server finds its port free again.
_PORTS: Final = range(20_000, 32_000)
# A socket's path must fit into 107 bytes, `.s.PGSQL.12345` included.
_PARENT_CHARS_MAX: Final = 60
_UNPRIVILEGED_USERS: Final = ("postgres", "nobody")
_START_S: Final = 60.0


class PrivatePostgres:
    """One server. `directory` is deleted by `close`, or when this process ends in any way.

    `durable=False` gives up safety against a crash of the machine, not against `kill -9` of the server.
    """

    def __init__(
        self,
        programs: Programs,
        directory: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        connections_max: int = 100,
        data: Path | None = None,
    ) -> None:
        """Make the server's folders. `directory` must be there already, empty.

        `data` is where the databases are kept instead, beyond the server's end. Raises: EmbeddedUnavailable if the user
        that the server runs as cannot get there.
        """
        self.directory: Final = directory
        self.port: Final = port
        self._user = unprivileged_user()
        self._data = data or directory / "data"
        self._sockets = directory / "run"
        self._log = directory / "log"
        directory.chmod(0o711)
        self._programs = programs.reachable(self._user, directory)
        if self._user is not None and data is not None and not enterable_by_all(data.parent):
            raise EmbeddedUnavailable(
                f"PostgreSQL does not run as root, and user {self._user.pw_name!r} cannot enter {data.parent}; "
                f"keep the databases where everybody may walk to (--state FOLDER), or start amends as another user"
            )
        for path in (self._data, self._sockets):
            if not path.exists():
                self._make(path)
        self._server = Guarded(
            [self._programs / "postgres", "-D", self._data, *self._settings(durable, connections_max)],
            directory=directory,
            log=self._log,
            env={"LC_ALL": "C", "TZ": "UTC"},
            user=self._user,
            stop_signal=signal.SIGINT,
            remove=[directory],
        )

    def url(self, database: str = "postgres") -> str:
        """Where SQLAlchemy finds a database of this server; its superuser needs no password."""
        if self.port is None:
            return f"postgresql+psycopg://postgres@/{database}?host={self._sockets}"
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, on what it knew before; return when it takes connections.

        Raises: EmbeddedUnavailable with the server's own words if it does not come up.
        """
        if self._server.alive():
            return
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._server.start()
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if not self._server.alive() or time.monotonic() > deadline:
                raise EmbeddedUnavailable(f"PostgreSQL did not start; its log ends: {tail(self._log)}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Shut the server down; its connections are cut, its data stays."""
        self._server.stop()

    def kill(self) -> None:
        """`kill -9` the server; it recovers at the next start."""
        self._server.kill()

    def wipe(self) -> None:
        """Lose everything, then run again, empty."""
        self.kill()
        shutil.rmtree(self._data)
        self._make(self._data)
        self.start()

    def close(self) -> None:
        """Stop the server and delete its directory."""
        self._server.close()

    def _make(self, path: Path) -> None:
        path.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _settings(self, durable: bool, connections_max: int) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1" if self.port else "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "port": str(self.port or 5432),
            "max_connections": str(connections_max),
            "logging_collector": "off",
            "timezone": "UTC",
            # A server that is killed leaves nothing in the machine's shared memory: it is in its directory.
            "dynamic_shared_memory_type": "mmap",
        }
        if not durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        return [f"--{name}={value}" for name, value in settings.items()]

    def _initialise(self) -> None:
        self._run(
            "initdb",
            "-D",
            str(self._data),
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--no-instructions",
        )

    def _answers(self) -> bool:
        return self._ran("pg_isready", "-h", str(self._sockets), "-p", str(self.port or 5432)).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        ended = self._ran(program, *arguments)
        if ended.returncode:
            raise EmbeddedUnavailable(f"{program} failed: {ended.stderr.strip() or ended.stdout.strip()}")

    def _ran(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        user = self._user
        return subprocess.run(
            [str(self._programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            env={"LC_ALL": "C", "TZ": "UTC"},
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )


def unprivileged_user() -> pwd.struct_passwd | None:
    """Who the server runs as: ourselves (None), or, for root, a user that is already there."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedUnavailable(
        "PostgreSQL does not run as root and there is no user 'nobody' to run it as; start amends as another user"
    )


def private_directory() -> Path:
    """A new directory for one server: short enough for a socket, and reachable by the user the server runs as."""
    parent = Path(tempfile.gettempdir()).resolve()
    if len(str(parent)) > _PARENT_CHARS_MAX or (os.geteuid() == 0 and not enterable_by_all(parent)):
        parent = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix="amends-", dir=parent))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    while not is_free(port := random.choice(_PORTS)):
        continue
    return port


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log, on one line."""
    return (
        " | ".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "it wrote none"
    )
