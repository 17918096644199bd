"""PostgreSQL with databases that stay, and the best broker this machine has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from amends.db.embedded import postgres_programs
from amends.db.private_postgres import PrivatePostgres, private_directory
from amends.dev.rabbit_container import docker, rabbit_container
from amends.dev.rabbit_node import installed_programs, rabbit_node
from amends.dev.state import State

IN_PROCESS: Final = "memory://dev"
_CONNECTIONS: Final = 200


@dataclass(frozen=True, slots=True)
class ChosenBroker:
    """A broker's URL and what it is, in words. `shared`: other processes can use it."""

    url: str
    words: str
    shared: bool


@contextmanager
def kept_postgres(state: State) -> Iterator[PrivatePostgres]:
    """A running PostgreSQL on the state's databases, which stay at the end. Raises: EmbeddedUnavailable."""
    server = PrivatePostgres(
        postgres_programs(),
        private_directory(),
        port=state.port(),
        connections_max=_CONNECTIONS,
        data=state.databases,
    )
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextmanager
def chosen_broker(wanted: str) -> Iterator[ChosenBroker]:
    """`wanted` is a URL, "memory", or "auto": RabbitMQ if it is installed or Docker has it, else in this process.

    Raises: ServerUnavailable.
    """
    if wanted == "auto" and (programs := installed_programs()) is not None:
        with rabbit_node(programs) as node:
            yield ChosenBroker(node.url, "RabbitMQ, installed here; it forgets when this ends", True)
    elif wanted == "auto" and (program := docker()) is not None:
        with rabbit_container(program) as container:
            yield ChosenBroker(container.url, "RabbitMQ in Docker; it forgets when this ends", True)
    elif wanted in ("auto", "memory"):
        words = "in this process"
        if wanted == "auto":
            words += ": there is no rabbitmq-server here, and no Docker"
        yield ChosenBroker(IN_PROCESS, words, False)
    else:
        yield ChosenBroker(wanted, "yours", not wanted.startswith("memory:"))
