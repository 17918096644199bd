"""A RabbitMQ of our own in a Docker container, for machines that have Docker and no `rabbitmq-server`."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port, private_directory, tail
from amends.dev.errors import ServerUnavailable

_IMAGE: Final = "rabbitmq:3.13-management"
_START_S: Final = 120.0
_PULL_S: Final = 300.0
# A client's first bytes, and the first of what an AMQP 0-9-1 broker answers: a method frame.
_GREETING: Final = b"AMQP\x00\x00\x09\x01"
_METHOD: Final = b"\x01"


def docker() -> Path | None:
    """The docker program, if a daemon answers it."""
    program = shutil.which("docker")
    if program is None:
        return None
    asked = subprocess.run(
        [program, "version", "--format", "{{.Server.Version}}"], capture_output=True, check=False
    )
    return Path(program) if asked.returncode == 0 else None


class RabbitContainer:
    """One broker with the user guest. Its URL stays the same from start to start."""

    def __init__(self, program: Path) -> None:
        self._docker = str(program)
        self._name = f"amends-{uuid4().hex[:12]}"
        self._amqp, self._management = free_port(), free_port()
        self._directory = private_directory()
        pulled = self._run("pull", "--quiet", _IMAGE, timeout_s=_PULL_S)
        if pulled.returncode:
            shutil.rmtree(self._directory)
            raise ServerUnavailable(f"docker cannot pull {_IMAGE}: {pulled.stderr.strip()}")
        # What removes the container must outlive us; a shell that waits to be told to end is all it takes.
        remover = (
            f"trap '{self._docker} rm --force --volumes {self._name}; exit 0' TERM; while :; do sleep 1; done"
        )
        self._remover = Guarded(
            ["/bin/sh", "-c", remover],
            directory=self._directory,
            log=self._directory / "log",
            patience_s=30,
            remove=[self._directory],
        )
        self._remover.start()

    @property
    def url(self) -> str:
        """Where kombu finds it."""
        return f"pyamqp://guest:guest@127.0.0.1:{self._amqp}//"

    @property
    def management_url(self) -> str:
        """Its management API."""
        return f"http://guest:guest@127.0.0.1:{self._management}"

    def start(self) -> None:
        """Start the container on what it knew before; return when it takes connections."""
        if self._run("start", self._name).returncode:
            self._must(
                "run", "--detach", "--name", self._name, "--hostname", self._name,
                "--publish", f"127.0.0.1:{self._amqp}:5672", "--publish", f"127.0.0.1:{self._management}:15672", _IMAGE,
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise ServerUnavailable(
                    f"RabbitMQ did not start; it said: {self._run('logs', self._name).stdout}"
                )
            time.sleep(0.2)

    def stop(self) -> None:
        """Shut the broker down in good order; queues and messages stay."""
        self._must("stop", self._name)

    def kill(self) -> None:
        """`kill -9`; durable queues and confirmed messages are there again after the next start."""
        # What RabbitMQ keeps in memory for seconds: without it a queue made just now would never have a leader again.
        self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")
        self._must("kill", self._name)

    def wipe(self) -> None:
        """Lose everything, queues included, then run again, empty."""
        self._must("rm", "--force", "--volumes", self._name)
        self.start()

    def block(self) -> None:
        """Raise the memory alarm: publishers are blocked, consumers go on."""
        self.ctl("set_vm_memory_high_watermark", "0.0000001")

    def unblock(self) -> None:
        """Take the alarm back."""
        self.ctl("set_vm_memory_high_watermark", "0.4")

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl ARGUMENTS` prints."""
        return self._must("exec", self._name, "rabbitmqctl", "--quiet", *arguments)

    def close(self) -> None:
        """Remove the container and all it kept."""
        self._remover.close()

    def _answers(self) -> bool:
        # Docker's proxy takes connections before the broker does, so only what the broker says counts.
        try:
            with socket.create_connection(("127.0.0.1", self._amqp), timeout=2) as connection:
                connection.sendall(_GREETING)
                return connection.recv(1) == _METHOD
        except OSError:
            return False

    def _must(self, *arguments: str) -> str:
        ended = self._run(*arguments)
        if ended.returncode:
            raise ServerUnavailable(
                f"docker {arguments[0]} failed: {ended.stderr.strip()} {tail(self._directory / 'log')}"
            )
        return ended.stdout

    def _run(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._docker, *arguments], capture_output=True, text=True, check=False, timeout=timeout_s
        )


@contextmanager
def rabbit_container(program: Path) -> Iterator[RabbitContainer]:
    """A running broker; gone at the end. Raises: ServerUnavailable."""
    container = RabbitContainer(program)
    try:
        container.start()
        yield container
    finally:
        container.close()
