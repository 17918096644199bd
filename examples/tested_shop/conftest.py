"""The shop's own fixtures: a database for the whole run, and a session that is rolled back after each test."""

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from amends.db import participant
from amends.db.engines import open_engine
from examples.tested_shop.service import Base, Item


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The shop's database, with its tables and those of the SDK."""
    engine = open_engine(os.environ["SHOP_DATABASE"])
    Base.metadata.create_all(engine)
    participant.create(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """Three teapots; gone after the test, with all that it did."""
    with engine.connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            session.add(Item(sku="teapot", place="shelf 4", pieces=3))
            session.commit()
            yield session
        outer.rollback()


@pytest.fixture
def amends_database(session: Session) -> Session:
    """The test kit's handlers work in the shop's own session."""
    return session


@pytest.fixture(scope="session")
def amends_postgres_url() -> str:
    """Where its coordinators have their databases; without this, an embedded server."""
    return os.environ["SHOP_SERVER"]
