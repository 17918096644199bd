"""Forgetting old barrier rows, on PostgreSQL and on SQLite (B6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.outbox.wire import Op, Outcome
from amends.participants.barrier.pruning import prune
from tests.participants.crossing import DAY_S, Step
from tests.participants.shop import metadata

RETENTION_S = 10 * DAY_S


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def database(
    request: pytest.FixtureRequest,
    participant_database: Engine,
    mariadb_database: Engine,
    sqlite_database: Engine,
) -> Engine:
    """Each database the barrier works on, empty."""
    known = {"postgresql": participant_database, "mariadb": mariadb_database, "sqlite": sqlite_database}
    chosen: Engine = known[request.param]
    metadata.create_all(chosen)
    return chosen


def aged(database: Engine, days: float, *, undone: bool = False, undo_days: float | None = None) -> Step:
    """A step that was done, and maybe undone, so many days ago."""
    step = Step(database, retention_s=RETENTION_S)
    step.do()
    if undone:
        step.undo()
        step.change_row(Op.UNDO, at=ago(days if undo_days is None else undo_days))
    step.change_row(Op.DO, at=ago(days))
    return step


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def pruned(database: Engine, rows_max: int = 1000) -> int:
    with transaction(database) as connection:
        return prune(connection, RETENTION_S, rows_max=rows_max)


def test_old_steps_are_forgotten_with_all_their_rows(database: Engine) -> None:
    old, young = aged(database, 11, undone=True), aged(database, 9, undone=True)

    assert pruned(database) == 2
    assert pruned(database) == 0

    assert old.rows() == {}
    assert young.rows() == {"do": "done", "undo": "done"}


def test_a_step_is_kept_whole_while_its_youngest_row_is_remembered(database: Engine) -> None:
    """Seen to fail without the NOT EXISTS of `prunable` and `prune`: a late undo would find no do row."""
    step = aged(database, 20, undone=True, undo_days=1)

    assert pruned(database) == 0
    assert step.rows() == {"do": "done", "undo": "done"}


def test_a_call_in_doubt_is_never_forgotten(database: Engine) -> None:
    step = aged(database, 20)
    step.change_row(Op.DO, outcome="calling")

    assert pruned(database) == 0
    assert step.rows() == {"do": "calling"}


def test_many_are_forgotten_a_batch_at_a_time_whatever_stands_in_front(database: Engine) -> None:
    kept = [aged(database, 30, undone=True, undo_days=1) for _ in range(3)]
    old = [aged(database, 20) for _ in range(5)]

    batches = [pruned(database, rows_max=2) for _ in range(4)]

    assert batches == [2, 2, 1, 0]
    assert all(step.rows() == {} for step in old)
    assert all(len(step.rows()) == 2 for step in kept)


def test_a_forgotten_step_answers_expired_and_a_remembered_one_its_outcome(database: Engine) -> None:
    remembered = aged(database, 9)

    assert pruned(database) == 0
    assert remembered.do().outcome is Outcome.DONE
