"""The pytest plugin: fixtures named `amends_*`, none of them automatic; each loads what it needs when it is asked for.

Every pytest run of an environment that holds amends loads this module, so it imports nothing but pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amends.testing.bench import ParticipantBench
    from amends.testing.coordinator import CoordinatorBench, CoordinatorClock
    from amends.testing.embedded import Databases
    from amends.testing.story import Story
    from amends.testing.workplaces import Database


@pytest.fixture
def amends_saga() -> type[Story]:
    """Tell a saga's story: `amends_saga(place_order, Order(...)).given(reserve=done()).when(charge=refused())`."""
    from amends.testing.story import Story

    return Story


@pytest.fixture
def amends_database(tmp_path: Path) -> Iterator[Database]:
    """Where handlers work: a fresh SQLite file. Override it with the engine, connection or session of your project."""
    from amends.db.engines import open_engine
    from amends.db.participant import create

    engine = open_engine(f"sqlite:///{tmp_path / 'amends.sqlite'}")
    create(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def amends_participant(amends_database: Database) -> ParticipantBench:
    """Run handlers with their barrier: `first = amends_participant.send(charge, Charge(...))`, again, and undone."""
    from amends.testing.bench import ParticipantBench

    return ParticipantBench(amends_database)


@pytest.fixture
def amends_django(request: pytest.FixtureRequest) -> ParticipantBench:
    """As `amends_participant`, for handlers with Django's ORM: in the transaction of pytest-django's `db`."""
    request.getfixturevalue("db")
    from amends.testing.django import django_bench

    return django_bench()


@pytest.fixture(scope="session")
def amends_postgres_url() -> Iterator[str]:
    """Where coordinators have their databases: an embedded server. Override it with the URL of a server of yours."""
    from amends.testing.embedded import embedded_server

    with embedded_server() as url:
        yield url


@pytest.fixture(scope="session")
def amends_databases(amends_postgres_url: str) -> Iterator[Databases]:
    """Makes fresh databases with a coordinator's tables, on `amends_postgres_url`."""
    from amends.testing.embedded import Databases

    databases = Databases(amends_postgres_url)
    yield databases
    databases.close()


@pytest.fixture
def amends_coordinator(amends_databases: Databases) -> Iterator[CoordinatorBench]:
    """A real coordinator on a fresh database, with an in-process broker; its clock stands still (`amends_clock`)."""
    import time

    from amends.testing.coordinator import CoordinatorBench

    with amends_databases.one() as database:
        coordinator = CoordinatorBench(database, now_ms=int(time.time() * 1000))
        yield coordinator
        coordinator.close()


@pytest.fixture
def amends_clock(amends_coordinator: CoordinatorBench) -> CoordinatorClock:
    """Let time pass for `amends_coordinator`: `amends_clock.advance("15m")`."""
    return amends_coordinator.clock
