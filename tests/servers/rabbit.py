"""RabbitMQ for the tests.

In this order: AMENDS_TEST_AMQP_URL; a node of our own from an installed `rabbitmq-server`; a container; as root on
Debian and Ubuntu, the package, installed now.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

import kombu

from amends.dev.rabbit_container import docker, rabbit_container
from amends.dev.rabbit_node import installed_programs, rabbit_node
from tests.servers import ServerUnavailable
from tests.servers.debian import can_install, install, one_at_a_time
from tests.servers.rooms import server_directory

_MEND: Final = """\
no RabbitMQ for the tests. Do one of these, then run again:
  - install it (it need not run): apt-get install rabbitmq-server | brew install rabbitmq
  - start Docker
  - give a broker: AMENDS_TEST_AMQP_URL=amqp://user:password@host:5672/vhost
    (its management API, if not on port 15672 of that host: AMENDS_TEST_AMQP_MANAGEMENT_URL=http://user:password@host:port)
"""


class PrivateRabbit(Protocol):
    """A broker of our own, node or container."""

    @property
    def url(self) -> str: ...
    @property
    def management_url(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def wipe(self) -> None: ...
    def block(self) -> None: ...
    def unblock(self) -> None: ...
    def ctl(self, *arguments: str) -> str: ...


class RabbitServer:
    """The broker every test of a run shares; tests keep apart by queue prefix."""

    def __init__(self, url: str, management_url: str, private: PrivateRabbit | None) -> None:
        self.url: Final = url
        self.management_url: Final = management_url
        self._management = urlsplit(management_url)
        self._vhost = quote(kombu.Connection(url).virtual_host or "/", safe="")
        self._private = private

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl ARGUMENTS` prints. Raises: ServerUnavailable for a broker that is not ours."""
        if self._private is None:
            raise ServerUnavailable("this test needs rabbitmqctl; unset AMENDS_TEST_AMQP_URL for it")
        return self._private.ctl(*arguments)

    def queues(self, prefix: str) -> list[str]:
        """The names of the queues that begin with `prefix`."""
        found = self._ask(
            "GET",
            f"/api/queues/{self._vhost}?columns=name&name=^{quote(prefix)}&use_regex=true&page=1&page_size=500",
        )
        return [item["name"] for item in json.loads(found)["items"]]

    def exchanges(self, prefix: str) -> list[str]:
        """The names of the exchanges that begin with `prefix`."""
        found = self._ask(
            "GET",
            f"/api/exchanges/{self._vhost}?columns=name&name=^{quote(prefix)}&use_regex=true&page=1&page_size=500",
        )
        return [item["name"] for item in json.loads(found)["items"]]

    def forget(self, prefix: str) -> None:
        """Delete every queue and exchange that begins with `prefix`."""
        for name in self.queues(prefix):
            self._ask("DELETE", f"/api/queues/{self._vhost}/{quote(name, safe='')}")
        for name in self.exchanges(prefix):
            self._ask("DELETE", f"/api/exchanges/{self._vhost}/{quote(name, safe='')}")

    def _ask(self, method: str, path: str) -> bytes:
        at = self._management
        login = b64encode(f"{at.username}:{at.password}".encode()).decode()
        request = urllib.request.Request(
            f"{at.scheme}://{at.hostname}:{at.port}{path}",
            method=method,
            headers={"Authorization": f"Basic {login}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return b'{"items": []}'  # Somebody else deleted it.
            raise


@contextmanager
def rabbit_server() -> Iterator[RabbitServer]:
    """The broker every test of a run shares. Raises: ServerUnavailable."""
    given = os.environ.get("AMENDS_TEST_AMQP_URL")
    if not given:
        with private_rabbit_server() as private:
            yield RabbitServer(private.url, private.management_url, private)
        return
    url = given.replace("amqp://", "pyamqp://", 1) if given.startswith("amqp://") else given
    connection = kombu.Connection(url, connect_timeout=5)
    try:
        connection.connect()
    except (*connection.connection_errors, *connection.channel_errors) as error:
        raise ServerUnavailable(f"AMENDS_TEST_AMQP_URL does not answer: {error}") from error
    finally:
        connection.release()
    login = f"{quote(connection.userid or 'guest')}:{quote(connection.password or 'guest')}"
    management = os.environ.get(
        "AMENDS_TEST_AMQP_MANAGEMENT_URL", f"http://{login}@{connection.hostname}:15672"
    )
    server = RabbitServer(url, management, None)
    try:
        server.queues("amends-probe")
    except OSError as error:
        raise ServerUnavailable(
            f"the management API of AMENDS_TEST_AMQP_URL does not answer: {error}\n{_MEND}"
        ) from error
    yield server


@contextmanager
def private_rabbit_server() -> Iterator[PrivateRabbit]:
    """A broker of our own. Raises: ServerUnavailable with what to do."""
    programs = installed_programs()
    if programs is None and (program := docker()) is not None:
        with rabbit_container(program) as container:
            yield container
        return
    if can_install():
        programs = _programs_in_the_end()
    if programs is None:
        raise ServerUnavailable(_MEND)
    with rabbit_node(programs, server_directory) as node:
        yield node


def _programs_in_the_end() -> Path:
    """The server's scripts, installed if they are missing. Raises: ServerUnavailable with what to do.

    Looked for under the lock: what another process is only just installing can be seen before it can run.
    """
    with one_at_a_time():
        programs = installed_programs()
        if programs is None:
            try:
                install("rabbitmq-server")
            except ServerUnavailable as error:
                raise ServerUnavailable(f"{_MEND}({error})") from error
            programs = installed_programs()
    if programs is None:
        raise ServerUnavailable(_MEND)
    return programs
