"""A contestant's databases: made for one run, dropped after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy.engine import make_url

from amends.db import participant
from amends.db.engines import open_engine
from amends.db.migrate import migrate
from bench.order import EFFECTS_TABLE, PARTICIPANTS
from bench.servers import Servers


@dataclass(frozen=True, slots=True)
class Databases:
    """URLs for libpq."""

    coordinator: str
    front: str
    participants: dict[str, str]


def sqlalchemy_url(url: str) -> str:
    """The same database, for SQLAlchemy."""
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


@contextmanager
def databases(servers: Servers) -> Iterator[Databases]:
    """Coordinator, front and participants, with amends' tables and the effects'."""
    with ExitStack() as ends:
        urls = {}
        for name in ("coordinator", "front", *PARTICIPANTS):
            urls[name] = url = servers.create_database(name)
            ends.callback(servers.drop_database, url)
            engine = open_engine(sqlalchemy_url(url))
            if name == "coordinator":
                migrate(engine, "coordinator")
            else:
                participant.create(engine)
            engine.dispose()
            if name in PARTICIPANTS:
                with psycopg.connect(url) as connection:
                    connection.execute(EFFECTS_TABLE)
        yield Databases(urls["coordinator"], urls["front"], {name: urls[name] for name in PARTICIPANTS})
