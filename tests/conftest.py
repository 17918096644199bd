"""Fixtures every test may use by name: real servers, fresh databases, queue prefixes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, make_url

from amends.db.engines import open_engine
from amends.db.migrate import migrate
from amends.db.participant import create
from amends.db.private_postgres import PrivatePostgres
from amends.db.schema import Which
from tests.servers import ServerUnavailable
from tests.servers.mariadb import MariaServer, PrivateMaria, mariadb_server, private_mariadb_server
from tests.servers.postgres import PostgresServer, postgres_server, private_postgres_server
from tests.servers.rabbit import PrivateRabbit, RabbitServer, private_rabbit_server, rabbit_server
from tests.spreading import processes, spread

if TYPE_CHECKING:
    from amends.outbox.ports import Broker

# What takes random runs may take more of them: pytest --hypothesis-profile=long.
settings.register_profile(
    "long",
    max_examples=1_000,
    stateful_step_count=80,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

_SERVERS: Final = pytest.StashKey[ExitStack]()
_POSTGRES: Final = pytest.StashKey[PostgresServer]()
_RABBIT: Final = pytest.StashKey[RabbitServer]()
_MARIADB: Final = pytest.StashKey[MariaServer]()


def pytest_configure(config: pytest.Config) -> None:
    """Let SIGTERM end the run as Ctrl-C does: with every fixture's end."""
    config.stash[_SERVERS] = ExitStack()
    # A shell without job control lets what it runs in the background ignore Ctrl-C; what a test starts would, too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda _number, _frame: pytest.exit("terminated", returncode=143))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, each in another process: side by side, nobody waits for one that began last."""
    longest = sorted((item for item in items if _asked_s(item)), key=_asked_s, reverse=True)
    others = [item for item in items if not _asked_s(item)]
    items[:] = spread(longest, others, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means."""
    return processes()


def _asked_s(item: pytest.Item) -> float:
    """The time limit a long test asks for; 0 of all others."""
    return max((mark.args[0] for mark in item.iter_markers("timeout") if mark.args), default=0)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the servers the chosen tests need, once and before the first test: without them the run ends at once."""
    if session.config.option.collectonly:
        return
    needed = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    servers = session.config.stash[_SERVERS]
    try:
        if "postgres" in needed:
            session.config.stash[_POSTGRES] = servers.enter_context(postgres_server())
        if "rabbit" in needed:
            session.config.stash[_RABBIT] = servers.enter_context(rabbit_server())
        if "mariadb" in needed:
            session.config.stash[_MARIADB] = servers.enter_context(mariadb_server())
    except ServerUnavailable as error:
        servers.close()
        # Of one of several processes nobody would see it otherwise.
        print(error, file=sys.__stderr__, flush=True)
        pytest.exit(str(error), returncode=4)
    except BaseException:
        servers.close()
        raise


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers."""
    if _SERVERS in config.stash:
        config.stash[_SERVERS].close()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> PostgresServer:
    """The PostgreSQL every test shares; tests keep apart by database."""
    return request.config.stash[_POSTGRES]


@pytest.fixture(scope="session")
def rabbit(request: pytest.FixtureRequest) -> RabbitServer:
    """The RabbitMQ every test shares; tests keep apart by `prefix`."""
    return request.config.stash[_RABBIT]


@pytest.fixture(scope="session")
def mariadb(request: pytest.FixtureRequest) -> MariaServer:
    """The MariaDB every test shares; tests keep apart by database."""
    return request.config.stash[_MARIADB]


@pytest.fixture
def private_mariadb() -> Iterator[PrivateMaria]:
    """A MariaDB of this test's own: stop, start, kill."""
    with private_mariadb_server() as server:
        yield server


@pytest.fixture
def mariadb_database(mariadb: MariaServer) -> Iterator[Engine]:
    """An engine on a fresh MariaDB database with a participant's tables."""
    url = mariadb.create_database()
    engine = open_engine(url)
    create(engine)
    yield engine
    engine.dispose()
    mariadb.drop_database(url)


@pytest.fixture
def private_postgres() -> Iterator[PrivatePostgres]:
    """A PostgreSQL of this test's own: stop, start, kill, wipe."""
    with private_postgres_server() as server:
        yield server


@pytest.fixture
def private_rabbit() -> Iterator[PrivateRabbit]:
    """A RabbitMQ of this test's own: stop, start, kill, wipe, block, unblock."""
    with private_rabbit_server() as server:
        yield server


@pytest.fixture
def prefix(rabbit: RabbitServer) -> Iterator[str]:
    """A queue prefix nobody else uses; its queues are deleted afterwards."""
    name = f"t{uuid4().hex[:10]}"
    yield name
    rabbit.forget(f"{name}.")


@pytest.fixture
def broker(rabbit: RabbitServer) -> Iterator[Broker]:
    """The shared RabbitMQ, as amends speaks to it."""
    from amends.outbox.broker import open_broker

    opened = open_broker(rabbit.url)
    yield opened
    opened.close()


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """A fresh, empty PostgreSQL database."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def coordinator_template(postgres: PostgresServer) -> Iterator[str]:
    """The name of a database with the coordinator's schema, to be copied: cheaper than to migrate each time."""
    yield from _template(postgres, "coordinator")


@pytest.fixture(scope="session")
def participant_template(postgres: PostgresServer) -> Iterator[str]:
    """The name of a database with a participant's tables, to be copied."""
    yield from _template(postgres, "participant")


@pytest.fixture
def coordinator_database(postgres: PostgresServer, coordinator_template: str) -> Iterator[Engine]:
    """An engine on a fresh database with the coordinator's schema."""
    with _copy(postgres, coordinator_template) as engine:
        yield engine


@pytest.fixture
def participant_database(postgres: PostgresServer, participant_template: str) -> Iterator[Engine]:
    """An engine on a fresh database with a participant's tables."""
    with _copy(postgres, participant_template) as engine:
        yield engine


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Engine]:
    """An engine on a fresh SQLite file with a participant's tables."""
    engine = open_engine(f"sqlite:///{tmp_path / 'service.sqlite'}")
    create(engine)
    yield engine
    engine.dispose()


def _template(postgres: PostgresServer, which: Which) -> Iterator[str]:
    url = postgres.create_database()
    engine = open_engine(url)
    migrate(engine, which)
    engine.dispose()
    name = make_url(url).database
    assert name is not None
    yield name
    postgres.drop_database(url)


@contextmanager
def _copy(postgres: PostgresServer, template: str) -> Iterator[Engine]:
    url = postgres.create_database(template)
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()
        postgres.drop_database(url)
