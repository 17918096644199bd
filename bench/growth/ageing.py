"""Gives a new coordinator's database a million sagas that have ended, all like one that really ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

TABLES: Final = ("saga_log", "step", "saga")

# What differs from saga to saga; ids are as random as those that come from a key. They ended in the last twenty days.
_AT: Final = "now() - interval '20 days' * (1 - n / {count}.0)"
_OWN: Final[Mapping[str, str]] = {
    "id": "md5('finished-' || n)::uuid",
    "saga_id": "md5('finished-' || n)::uuid",
    "key": "'finished-' || n",
    "start_message": "md5('message-' || n)",
    "created_at": _AT,
    "ended_at": _AT,
}

_ROWS: Final = {
    "saga": "SELECT to_jsonb(one) FROM amends.saga AS one WHERE id = %s",
    "step": "SELECT to_jsonb(one) FROM amends.step AS one WHERE saga_id = %s",
    "saga_log": "SELECT to_jsonb(one) FROM amends.saga_log AS one WHERE saga_id = %s",
}
_COLUMNS: Final = """
    SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_KEYS: Final = """
    SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = ANY(ARRAY['amends.saga', 'amends.step', 'amends.saga_log', 'amends.timer']::regclass[])
        AND (contype = 'f' OR (contype = 'p' AND conrelid <> 'amends.timer'::regclass))
    ORDER BY contype
"""
_INDEXES: Final = """
    SELECT indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid = ANY(ARRAY['amends.saga', 'amends.step', 'amends.saga_log']::regclass[]) AND NOT indisprimary
"""

Example = Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class _Dropped:
    """What was taken off the tables for the time of loading: by table, statements that bring it back."""

    keys: dict[str, list[str]]
    foreign: list[str]


def example(url: str, saga_id: str) -> Example:
    """The rows of one saga, by table."""
    with psycopg.connect(url) as connection:
        return {table: [row[0] for row in connection.execute(_ROWS[table], (saga_id,))] for table in TABLES}


def age(url: str, like: Example, count: int) -> None:
    """Insert so many copies of a finished saga, its steps and log; then vacuum and analyse, as time would have.

    Keys and indexes are made after the rows, which is faster; nobody else may be connected.
    """
    with psycopg.connect(url, autocommit=True) as connection, _few_checkpoints(connection):
        dropped = _drop(connection)
        for table, rows in like.items():
            connection.execute(f"CREATE TABLE public.like_{table} (LIKE amends.{table})")
            for row in rows:
                connection.execute(
                    f"INSERT INTO public.like_{table} SELECT * FROM jsonb_populate_record(NULL::amends.{table}, %s)",
                    (Jsonb(row),),
                )
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda table: _load(url, table, count, dropped.keys[table]), TABLES))
        for table in TABLES:
            connection.execute(f"DROP TABLE public.like_{table}")
        for statement in dropped.foreign:
            connection.execute(statement)


@contextmanager
def _few_checkpoints(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Loading writes gigabytes of WAL: with the default a checkpoint would come every few seconds."""
    connection.execute("ALTER SYSTEM SET max_wal_size = '8GB'")
    connection.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        connection.execute("ALTER SYSTEM RESET max_wal_size")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CHECKPOINT")


def _drop(connection: psycopg.Connection[Any]) -> _Dropped:
    keys: dict[str, list[str]] = {table: [] for table in TABLES}
    foreign = []
    for table, name, kind, definition in connection.execute(_KEYS).fetchall():
        connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        added = f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}'
        if kind == "f":
            foreign.append(f"{added} NOT VALID")  # It holds for what comes; the copies need no proof.
        else:
            keys[table.removeprefix("amends.")].append(added)
    for table, name, definition in connection.execute(_INDEXES).fetchall():
        connection.execute(f"DROP INDEX {name}")
        keys[table.removeprefix("amends.")].append(definition)
    return _Dropped(keys, foreign)


def _load(url: str, table: str, count: int, keys: list[str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '256MB'")
        columns = [row[0] for row in connection.execute(_COLUMNS, (f"amends.{table}",))]
        values = ", ".join(_OWN.get(column, f'one."{column}"').format(count=count) for column in columns)
        names = ", ".join(f'"{column}"' for column in columns)
        connection.execute(
            f"INSERT INTO amends.{table} ({names}) SELECT {values}"
            f" FROM generate_series(1, {count}) AS n CROSS JOIN public.like_{table} AS one"
        )
        for statement in keys:
            connection.execute(statement)
        connection.execute(f"VACUUM (ANALYZE) amends.{table}")
