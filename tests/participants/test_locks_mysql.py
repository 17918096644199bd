"""The table of locks on MariaDB: taken, waited for, let go."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import Engine, text

from amends.db.engines import open_engine, transaction
from amends.db.participant import create
from amends.participants.locks.rule import Claimant
from amends.participants.locks.store import LockStore
from tests.servers.mariadb import PrivateMaria


def test_a_lock_is_taken_once_queued_for_and_let_go(mariadb_database: Engine) -> None:
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


# An autumn night: at 1 790 000 000 clocks go back from two hours ahead of UTC to one.
BACK_S = 1_790_000_000
ZONE = f"""
INSERT INTO mysql.time_zone (use_leap_seconds) VALUES ('N');
SET @zone = LAST_INSERT_ID();
INSERT INTO mysql.time_zone_name (name, time_zone_id) VALUES ('Amends/Autumn', @zone);
INSERT INTO mysql.time_zone_transition_type VALUES (@zone, 0, 7200, 1, 'summer'), (@zone, 1, 3600, 0, 'winter');
INSERT INTO mysql.time_zone_transition VALUES (@zone, 0, 0), (@zone, {BACK_S}, 1)
"""


def test_the_clock_of_locks_knows_which_of_the_repeated_hours_it_is(
    private_mariadb: PrivateMaria,
) -> None:
    """Guard: UTC_TIMESTAMP; by the session's local time the second of the two hours is the first."""
    server = open_engine(private_mariadb.url)
    who = Claimant(uuid4(), 1)
    create(server)
    with transaction(server) as connection:
        for statement in ZONE.strip().split(";\n"):
            connection.execute(text(statement))
    store = LockStore(server.dialect.name)
    seen = []
    with transaction(server) as connection:
        connection.execute(text("SET time_zone = 'Amends/Autumn'"))
        for after_s in (-600, 600):
            connection.execute(text(f"SET timestamp = {BACK_S + after_s}.25"))
            store.take(connection, f"at {after_s}", who, "saga", "path")
            holder = store.standing(connection, f"at {after_s}").holder
            seen.append(holder.at_ms if holder else None)
    server.dispose()

    assert seen == [(BACK_S - 600) * 1000 + 250, (BACK_S + 600) * 1000 + 250]
