"""The table of locks on MariaDB: taken, waited for, let go."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.participants.locks.rule import Claimant
from amends.participants.locks.store import LockStore


def test_a_lock_is_taken_once_queued_for_and_let_go(mariadb_database: Engine) -> None:
    from amends.db.participant import create

    create(mariadb_database)
    store = LockStore(mariadb_database.dialect.name)
    one, other = (Claimant(uuid4(), number) for number in (1, 2))
    with transaction(mariadb_database) as connection:
        taken = [store.take(connection, "n", who, "saga", "path") for who in (one, other, one)]
        for _ in range(2):
            store.wait(connection, "n", other, "saga", "path", lease_ms=30_000)
        standing = store.standing(connection, "n")

    assert taken == [True, False, False]
    assert standing.holder is not None
    assert standing.holder.claimant == one
    assert [place.claimant for place in standing.waiting] == [other]
    with transaction(mariadb_database) as connection:
        assert store.let_go(connection, one.saga) == 1
        assert store.take(connection, "n", other, "saga", "path")
        rows = store.all(connection, 10)
        assert [(row["slot"], row["saga_id"], row["lapsed"]) for row in rows] == [("", other.saga, 0)]
        assert store.sweep(connection) == 0
