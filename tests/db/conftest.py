"""A database with the table of `tests.db.kept`, straight and by way of a proxy. Modules may have their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from amends.db.engines import open_engine, transaction
from tests.db.kept import MAKE
from tests.servers.proxy import Proxy, proxy_to


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """With one connection, so that what is left on it is met again."""
    engine = open_engine(database_url, pool_max=1)
    with transaction(engine) as connection:
        connection.exec_driver_sql(MAKE)
    yield engine
    engine.dispose()


@pytest.fixture
def through(engine: Engine) -> Iterator[tuple[Proxy, Engine]]:
    """The same database by way of a proxy that can break."""
    with proxy_to(engine.url.render_as_string(hide_password=False)) as (proxy, url):
        other = open_engine(url, pool_max=1)
        yield proxy, other
        other.dispose()
