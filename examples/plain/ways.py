"""The ways of a service without a framework to begin a saga in the transaction that it has open.

Each sells an article and starts the saga: both happen, or neither. `amends relay`, or the service's worker, carries it.
"""

from __future__ import annotations

import sqlite3

import psycopg
import psycopg2.extensions
import pymysql
from sqlalchemy import text
from sqlalchemy.orm import Session

from amends.participants import Client
from examples.plain.saga import Sale, sale


def by_psycopg(connection: psycopg.Connection, client: Client, sold: Sale) -> str:
    with connection.transaction():
        connection.execute("INSERT INTO sold (number) VALUES (%s)", [sold.number])
        return client.start(connection, sale, sold, key=sold.number)


def by_psycopg2(connection: psycopg2.extensions.connection, client: Client, sold: Sale) -> str:
    with connection, connection.cursor() as cursor:  # Its `with` commits, and does not close.
        cursor.execute("INSERT INTO sold (number) VALUES (%s)", [sold.number])
        return client.start(connection, sale, sold, key=sold.number)


def by_session(session: Session, client: Client, sold: Sale) -> str:
    with session.begin():
        session.execute(text("INSERT INTO sold (number) VALUES (:number)"), {"number": sold.number})
        return client.start(session, sale, sold, key=sold.number)


def by_sqlite3(connection: sqlite3.Connection, client: Client, sold: Sale) -> str:
    with connection:
        connection.execute("INSERT INTO sold (number) VALUES (?)", [sold.number])
        return client.start(connection, sale, sold, key=sold.number)


def by_pymysql(connection: pymysql.Connection, client: Client, sold: Sale) -> str:
    connection.begin()
    try:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO sold (number) VALUES (%s)", [sold.number])
        saga = client.start(connection, sale, sold, key=sold.number)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return saga
