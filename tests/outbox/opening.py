"""Every way to have a transaction open that `put` can join."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import psycopg2
import psycopg2.extras
import pymysql
import pymysql.cursors
from psycopg.rows import dict_row
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

Opened = Callable[[Engine], AbstractContextManager[Any]]


def dbapi_url(database: Engine) -> str:
    return database.url.set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def session(database: Engine) -> Iterator[Any]:
    with Session(database) as opened:
        yield opened


@contextmanager
def scoped(database: Engine) -> Iterator[Any]:
    registry = scoped_session(sessionmaker(database))
    yield registry
    registry.remove()


@contextmanager
def connection(database: Engine) -> Iterator[Any]:
    with database.connect() as opened:
        yield opened


@contextmanager
def psycopg_connection(database: Engine) -> Iterator[Any]:
    with psycopg.connect(dbapi_url(database)) as opened:
        yield opened


@contextmanager
def psycopg_with_dict_rows(database: Engine) -> Iterator[Any]:
    with psycopg.connect(dbapi_url(database), row_factory=dict_row) as opened:
        yield opened


@contextmanager
def psycopg2_connection(database: Engine) -> Iterator[Any]:
    opened = psycopg2.connect(dbapi_url(database))
    yield opened
    opened.close()


@contextmanager
def psycopg2_with_dict_rows(database: Engine) -> Iterator[Any]:
    opened = psycopg2.connect(dbapi_url(database), cursor_factory=psycopg2.extras.RealDictCursor)
    yield opened
    opened.close()


@contextmanager
def psycopg2_session(database: Engine) -> Iterator[Any]:
    engine = create_engine(database.url.set(drivername="postgresql+psycopg2"))
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def pymysql_connect(database: Engine, **how: Any) -> Any:
    at = database.url
    return pymysql.connect(
        host=at.host,
        port=at.port or 0,
        user=at.username,
        password=at.password or "",
        database=at.database,
        **how,
    )


@contextmanager
def pymysql_connection(database: Engine) -> Iterator[Any]:
    opened = pymysql_connect(database)
    yield opened
    opened.close()


@contextmanager
def pymysql_with_dict_rows(database: Engine) -> Iterator[Any]:
    opened = pymysql_connect(database, cursorclass=pymysql.cursors.DictCursor)
    yield opened
    opened.close()


@contextmanager
def repeatable_session(database: Engine) -> Iterator[Any]:
    """As a service has it that sets nothing: REPEATABLE READ, and SQLAlchemy's other name for MariaDB."""
    engine = create_engine(database.url.set(drivername="mariadb+pymysql"))
    with Session(engine) as opened:
        yield opened
    engine.dispose()


@contextmanager
def sqlite3_connection(database: Engine) -> Iterator[Any]:
    assert database.url.database is not None
    opened = sqlite3.connect(database.url.database)
    yield opened
    opened.close()
