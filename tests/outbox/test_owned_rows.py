"""O2: rows of living owners are left to them, rows of dead ones are swept, forgotten ones too in the end."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.outbox.storage import OwnerRules
from tests.outbox.rows import STORE, ago, beat, change, claimed, message, one, owners, stored

RULES = OwnerRules()


def swept(database: Engine, rows_max: int = 100, rules: OwnerRules = RULES) -> int:
    with transaction(database) as connection:
        return STORE.disown_dead(connection, rows_max, rules)


@pytest.fixture
def living(database: Engine) -> UUID:
    owner = uuid4()
    beat(database, owner, ago_s=15)
    return owner


@pytest.fixture
def dead(database: Engine) -> UUID:
    owner = uuid4()
    beat(database, owner, ago_s=25)
    return owner


def test_rows_of_a_living_owner_are_left_to_it(database: Engine, living: UUID) -> None:
    stored(database, [message()], living)

    assert swept(database) == 0
    assert claimed(database) == []


def test_rows_of_a_dead_owner_are_taken(database: Engine, living: UUID, dead: UUID) -> None:
    [_, left] = stored(database, [message()], living) + stored(database, [message()], dead)

    assert swept(database) == 1
    assert claimed(database) == [left.id]


def test_rows_of_an_owner_without_a_heartbeat_row_are_taken(database: Engine) -> None:
    """As after a clean stop, or a name that was given up: at once."""
    [left] = stored(database, [message()], uuid4())

    assert swept(database) == 1
    assert claimed(database) == [left.id]


def test_rows_of_many_dead_owners_are_taken_in_bounded_steps(database: Engine, living: UUID) -> None:
    for _ in range(5):
        stored(database, [message()] * 3, uuid4())
    stored(database, [message()] * 3, living)

    assert [swept(database, rows_max=10) for _ in range(3)] == [10, 5, 0]


def test_a_forgotten_row_of_a_living_owner_is_taken_after_the_backstop(
    database: Engine, living: UUID
) -> None:
    """Seen to be older than five minutes, and still there a while later. Guard: `backstop_s` in DISOWN_DEAD."""
    [forgotten, fresh] = stored(database, [message(), message()], living)
    change(database, forgotten.id, created_at=ago(database, 301))

    assert swept(database) == 0  # seen for the first time
    assert swept(database) == 0  # and not for long enough
    change(database, forgotten.id, leased_until=ago(database, 1))
    assert swept(database) == 1

    assert claimed(database) == [forgotten.id]
    assert one(database, fresh.id).owner == living


def test_a_row_that_was_old_when_its_transaction_committed_is_left_to_its_owner_for_a_while(
    database: Engine, living: UUID
) -> None:
    """A long transaction commits rows older than the backstop: the owner publishes them right now.

    Guard: `grace_s`; without it the sweep would publish them at the same time.
    """
    rules = OwnerRules(grace_s=10)
    [late] = stored(database, [message()], living)
    change(database, late.id, created_at=ago(database, 3_600))

    assert [swept(database, rules=rules) for _ in range(3)] == [0, 0, 0]

    with transaction(database) as connection:
        STORE.delete(connection, [late.id])
    assert swept(database, rules=rules) == 0


def test_a_row_whose_owner_died_before_its_transaction_committed_is_taken_at_once(
    participant_database: Engine,
) -> None:
    """A transaction stays open while its process loses its name: the row appears with a dead owner (O2, O3)."""
    database = participant_database
    owner = uuid4()
    beat(database, owner)
    with transaction(database) as connection:
        [row_id] = STORE.insert(connection, [message()], owner)
        with transaction(database) as other:
            STORE.forget_owner(other, owner)
        assert swept(database) == 0  # not there yet, for anybody

    assert swept(database) == 1
    assert claimed(database) == [row_id]


def test_rows_under_lock_are_passed_over(participant_database: Engine) -> None:
    """Its owner is just deleting one, say. Guard: SKIP LOCKED in DISOWN_DEAD."""
    database = participant_database
    [locked, free] = stored(database, [message(), message()], uuid4())
    with transaction(database) as connection:
        STORE.delete(connection, [locked.id])

        assert swept(database) == 1

    assert claimed(database) == [free.id]


def test_a_fresh_name_takes_over_the_rows_its_process_knows(database: Engine, living: UUID) -> None:
    [known, unknown, taken] = stored(database, [message(n) for n in range(3)], living)
    with transaction(database) as connection:
        STORE.disown(connection, [taken.id], 0.0, "handed over")
    fresh = uuid4()

    with transaction(database) as connection:
        STORE.beat(connection, fresh, "a test")
        STORE.adopt(connection, [known.id, taken.id], fresh)
        STORE.forget_owner(connection, living)

    assert one(database, known.id).owner == fresh
    assert swept(database) == 1
    assert claimed(database) == [unknown.id, taken.id]


def test_owners_long_dead_are_forgotten_once_they_left_nothing(database: Engine, living: UUID) -> None:
    gone, holding = uuid4(), uuid4()
    beat(database, gone, ago_s=3_700)
    beat(database, holding, ago_s=3_700)
    stored(database, [message()], holding)

    with transaction(database) as connection:
        STORE.prune_owners(connection, RULES.dead_s)

    assert owners(database) == {living, holding}


def test_owners_are_kept_for_an_hour_after_their_death(database: Engine, living: UUID) -> None:
    """Guard: the parentheses in `_in` on MySQL."""
    gone, just_dead = uuid4(), uuid4()
    beat(database, gone, ago_s=3_600 + 600 + 60)
    beat(database, just_dead, ago_s=3_600 + 600 - 60)

    with transaction(database) as connection:
        STORE.prune_owners(connection, 600)

    assert owners(database) == {living, just_dead}
