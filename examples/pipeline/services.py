"""Three stations that do the same, and the records, where a message begins and ends."""

from __future__ import annotations

import os
import threading
import time

from msgspec import to_builtins
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    update,
)

from amends.participants import Client, Ctx, Participant
from examples.pipeline.saga import Entry, Piece, pipeline

station_tables = MetaData()
visits = Table(
    "visit",
    station_tables,
    Column("number", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("worker", String(40), nullable=False),
)
record_tables = MetaData()
records_kept = Table(
    "record",
    record_tables,
    Column("number", Integer, primary_key=True),
    Column("status", String(10), nullable=False),
    Column("history", JSON, nullable=False),
)


def station(name: str) -> Participant:
    """A service that adds its name and the time to whatever comes by."""
    participant = Participant(name)

    @participant.command
    def visit(cmd: Piece, ctx: Ctx) -> list[Entry]:
        # Some pieces take longer than others, so that they overtake each other.
        time.sleep(cmd.number * 7 % 10 / 100)
        now = time.time()
        worker = f"{os.getpid()}/{threading.get_ident()}"
        ctx.connection.execute(insert(visits).values(number=cmd.number, at=now, worker=worker))
        return [*cmd.history, Entry(name, now)]

    @visit.undo
    def forget(cmd: Piece, ctx: Ctx) -> None:
        ctx.connection.execute(delete(visits).where(visits.c.number == cmd.number))

    return participant


a, b, c = station("a"), station("b"), station("c")
records = Participant("records")


def create(connection: Connection, client: Client, number: int) -> str:
    """Keep a new record and start its saga, in the caller's transaction."""
    piece = Piece(number, [Entry("created", time.time())])
    connection.execute(
        insert(records_kept).values(number=number, status="created", history=to_builtins(piece.history))
    )
    return client.start(connection, pipeline, piece)


@records.command
def complete(cmd: Piece, ctx: Ctx) -> None:
    history = to_builtins([*cmd.history, Entry("completed", time.time())])
    ctx.connection.execute(
        update(records_kept)
        .where(records_kept.c.number == cmd.number)
        .values(status="completed", history=history)
    )
