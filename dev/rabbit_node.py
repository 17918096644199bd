"""A RabbitMQ node of our own, from the programs of an installed `rabbitmq-server`: own name, ports, data and epmd."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port, private_directory, tail
from amends.dev.config import search_path
from amends.dev.errors import ServerUnavailable

_START_S: Final = 90.0
_TRIES: Final = 4
_SBIN: Final = "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"
_CONFIGURATION: Final = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
management.rates_mode = none
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 67108864
log.file.level = warning
"""


def installed_programs() -> Path | None:
    """The folder of the server's own scripts; the wrapper on the PATH drops the environment."""
    found = sorted(Path("/").glob(_SBIN.lstrip("/") + "/rabbitmq-server"))
    if found:
        return found[-1].parent
    wrapper = shutil.which("rabbitmq-server")
    if wrapper is None:
        return None
    script = Path(wrapper).resolve()
    return script.parent if (script.parent / "rabbitmq-env").exists() else None


class RabbitNode:
    """One broker with the user guest, listening on 127.0.0.1 alone. Its URL stays the same from start to start."""

    def __init__(self, programs: Path, directory: Path) -> None:
        """`directory` is there already, empty, and is deleted with all that the node kept."""
        self._programs = programs
        self._directory = directory
        self._log = self._directory / "console"
        self._amqp, self._management, distribution, epmd = (free_port() for _ in range(4))
        self._environment = self._environment_for(distribution, epmd)
        (self._directory / "rabbitmq.conf").write_text(
            _CONFIGURATION.format(amqp=self._amqp, management=self._management)
        )
        (self._directory / "plugins").write_text("[rabbitmq_management].\n")
        # Without an epmd of its own the first node would start one that everybody shares and nobody ends.
        self._epmd = Guarded(
            [_erlang("epmd"), "-port", str(epmd), "-address", "127.0.0.1"],
            directory=self._directory,
            log=self._directory / "epmd",
            env=self._environment,
        )
        self._node = Guarded(
            [programs / "rabbitmq-server"],
            directory=self._directory,
            log=self._log,
            env=self._environment,
            patience_s=20,
            remove=[self._directory],
        )

    @property
    def url(self) -> str:
        """Where kombu finds it."""
        return f"pyamqp://guest:guest@127.0.0.1:{self._amqp}//"

    @property
    def management_url(self) -> str:
        """Its management API."""
        return f"http://guest:guest@127.0.0.1:{self._management}"

    def start(self) -> None:
        """Start the node on what it knew before; return when it takes connections. Raises: ServerUnavailable."""
        if self._node.alive():
            return
        if not self._epmd.alive():
            self._epmd.start()
        self._node.start()
        deadline = time.monotonic() + _START_S
        while not (_listens(self._amqp) and _listens(self._management)):
            if not self._node.alive() or time.monotonic() > deadline:
                raise ServerUnavailable(f"RabbitMQ did not start; it said: {tail(self._log, 15)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Shut the node down in good order; queues and messages stay."""
        self._node.stop()

    def kill(self) -> None:
        """`kill -9`; durable queues and confirmed messages are there again after the next start."""
        # RabbitMQ keeps the names of its quorum queues in tables that reach the disk seconds later: a queue that was
        # made just before the kill would never have a leader again.
        self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")
        self._node.kill()

    def wipe(self) -> None:
        """Lose everything, queues included, then run again, empty."""
        self._node.kill()
        shutil.rmtree(self._directory / "mnesia")
        self.start()

    def block(self) -> None:
        """Raise the memory alarm: publishers are blocked, consumers go on."""
        self.ctl("set_vm_memory_high_watermark", "0.0000001")

    def unblock(self) -> None:
        """Take the alarm back."""
        self.ctl("set_vm_memory_high_watermark", "0.4")

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl ARGUMENTS` prints; it takes about a second. Raises: CalledProcessError."""
        return subprocess.run(
            [self._programs / "rabbitmqctl", "--quiet", *arguments],
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self._directory,
        ).stdout

    def close(self) -> None:
        """End node and epmd, without ceremony; delete all they kept."""
        self._node.kill()
        self._node.close()
        self._epmd.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _environment_for(self, distribution: int, epmd: int) -> dict[str, str]:
        directory = str(self._directory)
        local = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "PATH": search_path(),
            "HOME": directory,
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"amends-{uuid4().hex[:8]}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._amqp),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq",
            "RABBITMQ_CONF_ENV_FILE": f"{directory}/none",
            "RABBITMQ_MNESIA_BASE": f"{directory}/mnesia",
            "RABBITMQ_LOG_BASE": f"{directory}/logs",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins",
            # Idle schedulers must not spin: the tests share two cores with it.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{local} -start_epmd false +sbwt none +sbwtdcpu none +sbwtdio none",
            "RABBITMQ_CTL_ERL_ARGS": f"{local} -start_epmd false",
        }


@contextmanager
def rabbit_node(programs: Path, directory: Callable[[], Path] = private_directory) -> Iterator[RabbitNode]:
    """A running node in a new directory; gone at the end. Raises: ServerUnavailable."""
    node = _started(programs, directory)
    try:
        yield node
    finally:
        node.close()


def _started(programs: Path, directory: Callable[[], Path]) -> RabbitNode:
    for last in (False,) * (_TRIES - 1) + (True,):
        node = RabbitNode(programs, directory())
        try:
            node.start()
        except ServerUnavailable as error:
            node.close()
            # Somebody else may have taken a port between our look and the server's.
            if last or not re.search("eaddrinuse|already in use|address_in_use", str(error)):
                raise
            continue
        except BaseException:
            node.close()
            raise
        return node
    raise AssertionError("the last try raises")


def _erlang(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise ServerUnavailable(
            f"rabbitmq-server is installed but {program} is not on the PATH; install erlang-base"
        )
    return path


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
