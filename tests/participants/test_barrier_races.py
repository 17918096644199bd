"""Two commands of one step at the same time, on the real PostgreSQL and MariaDB: the locks of B1, B2 and B3."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from amends.db.engines import transaction
from amends.outbox.wire import Op, Outcome
from amends.participants.barrier.pruning import prune
from amends.participants.barrier.store import Expired, Vanished
from amends.participants.errors import Refused
from tests.locks import waiting_locks
from tests.participants.crossing import DAY_S, Ran, Step
from tests.waiting import DEADLINE_S, eventually


@pytest.fixture
def beside() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a call beside the test."""
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


def await_lock(engine: Engine) -> None:
    """Until a transaction waits for another one's lock."""
    eventually(lambda: waiting_locks(engine) > 0, what="a transaction to wait for a lock")


@pytest.fixture
def step(server_database: Engine) -> Step:
    """A step whose commands wait long for each other, so that a slow machine changes nothing."""
    return Step(server_database, lock_timeout_s=10)


Beside = Callable[..., Future[Any]]


def test_a_do_that_comes_twice_at_once_runs_once(step: Step, beside: Beside) -> None:
    """Seen to fail with the insert's ON CONFLICT aimed at no row: the second would raise or run as well."""
    release = threading.Event()
    first, second = Ran(hold=release, result=b"1"), Ran(result=b"2")

    doing = beside(step.do, first)
    assert first.running.wait(DEADLINE_S)
    repeating = beside(step.do, second, attempt=2)
    await_lock(step.engine)
    release.set()

    assert doing.result().result == repeating.result().result == b"1"
    assert not second.runs


def test_an_undo_that_meets_its_do_under_way_undoes_it(step: Step, beside: Beside) -> None:
    release = threading.Event()
    do, undo = Ran(hold=release), Ran()

    doing = beside(step.do, do)
    assert do.running.wait(DEADLINE_S)
    undoing = beside(step.undo, undo)
    await_lock(step.engine)
    release.set()

    assert doing.result().outcome is Outcome.DONE
    assert undoing.result().outcome is Outcome.DONE
    assert len(undo.runs) == 1


def test_an_undo_that_meets_a_failing_do_keeps_it_from_running_later(step: Step, beside: Beside) -> None:
    release = threading.Event()
    do, undo, late = Ran(hold=release, raises=ConnectionError("down")), Ran(), Ran()

    doing = beside(step.do, do)
    assert do.running.wait(DEADLINE_S)
    undoing = beside(step.undo, undo)
    await_lock(step.engine)
    release.set()

    assert isinstance(doing.exception(), ConnectionError)
    assert undoing.result().outcome is Outcome.NOTHING
    assert step.do(late).outcome is Outcome.REFUSED
    assert not undo.runs
    assert not late.runs


def test_a_do_of_a_higher_round_that_meets_an_undo_of_the_standing_refusal_is_refused(
    step: Step, beside: Beside
) -> None:
    """`do` and `undo` at once on a standing refusal, the undo first (B1: lock, only then read the undo row).

    Seen to fail with the undo row read before the do row is locked in `Barrier._judge_do`.
    """
    step.do(Ran(raises=Refused("no stock")))
    undo, late = Ran(), Ran()

    with transaction(step.engine) as connection:
        undone = step.barrier.undo(connection, step.command(Op.UNDO), lambda run: undo(run, connection))
        doing = beside(step.do, late, round=2)
        await_lock(step.engine)

    assert undone.outcome is Outcome.NOTHING
    assert doing.result().outcome is Outcome.REFUSED
    assert not undo.runs
    assert not late.runs


def test_an_undo_that_meets_a_do_of_a_higher_round_over_the_standing_refusal_undoes_it(
    step: Step, beside: Beside
) -> None:
    """`do` and `undo` at once on a standing refusal, the do first (B2: lock the do row).

    Seen to fail with `store.lock` reading without FOR UPDATE: the undo would find the refusal, and do nothing.
    """
    step.do(Ran(raises=Refused("no stock")))
    release = threading.Event()
    do, undo = Ran(hold=release), Ran()

    doing = beside(step.do, do, round=2)
    assert do.running.wait(DEADLINE_S)
    undoing = beside(step.undo, undo)
    await_lock(step.engine)
    release.set()

    assert doing.result().outcome is Outcome.DONE
    assert undoing.result().outcome is Outcome.DONE
    assert len(undo.runs) == 1


def test_an_undo_that_comes_twice_at_once_runs_once(step: Step, beside: Beside) -> None:
    step.do()
    release = threading.Event()
    first, second = Ran(hold=release), Ran()

    undoing = beside(step.undo, first)
    assert first.running.wait(DEADLINE_S)
    repeating = beside(step.undo, second, attempt=2)
    await_lock(step.engine)
    release.set()

    assert undoing.result().outcome is repeating.result().outcome is Outcome.DONE
    assert not second.runs


def test_a_second_attempt_that_waits_for_a_refusal_resends_it(step: Step, beside: Beside) -> None:
    """Seen to fail with the whole transaction rolled back on Refused: the second attempt would run and be done."""
    release = threading.Event()
    first, second = Ran(hold=release, raises=Refused("no stock")), Ran()

    doing = beside(step.do, first)
    assert first.running.wait(DEADLINE_S)
    repeating = beside(step.do, second, attempt=2)
    await_lock(step.engine)
    release.set()

    assert doing.result().outcome is repeating.result().outcome is Outcome.REFUSED
    assert not second.runs


@pytest.mark.parametrize("closes", [None, Op.DO, Op.UNDO])
def test_a_fence_that_meets_its_do_under_way_waits_for_it(
    step: Step, beside: Beside, closes: Op | None
) -> None:
    release = threading.Event()
    do = Ran(hold=release, result=b"1")

    doing = beside(step.do, do)
    assert do.running.wait(DEADLINE_S)
    fencing = beside(step.fence, closes)
    await_lock(step.engine)
    release.set()

    assert doing.result().outcome is Outcome.DONE
    assert fencing.result().outcome is (Outcome.NEVER if closes is Op.UNDO else Outcome.DONE)


def test_a_closing_fence_that_meets_an_undo_under_way_tells_that_it_ran(step: Step, beside: Beside) -> None:
    step.do()
    release = threading.Event()
    undo = Ran(hold=release)

    undoing = beside(step.undo, undo)
    assert undo.running.wait(DEADLINE_S)
    closing = beside(step.fence, Op.UNDO)
    await_lock(step.engine)
    release.set()

    assert undoing.result().outcome is closing.result().outcome is Outcome.DONE


def test_two_announcements_of_one_external_call_lead_to_one_call(step: Step, beside: Beside) -> None:
    both = [beside(step.intend), beside(step.intend, attempt=2)]

    outcomes = {type(one.result()).__name__ for one in both}

    assert outcomes == {"Intent", "Answer"}


def test_a_command_waits_for_another_only_so_long(server_database: Engine, beside: Beside) -> None:
    """Seen to fail without the set_config in the statement `insert`, or without `_limit_session`: it would wait for the
    engine's ten seconds.
    """
    step = Step(server_database, lock_timeout_s=0.2)
    release = threading.Event()
    slow = Ran(hold=release)
    doing = beside(step.do, slow)
    assert slow.running.wait(DEADLINE_S)

    with pytest.raises(DBAPIError, match=r"(?i)lock (wait )?timeout"):
        step.do(attempt=2)

    release.set()
    assert doing.result().outcome is Outcome.DONE


# B6: pruning beside late commands

_OLD_S = 20 * DAY_S


def old_step(engine: Engine) -> Step:
    """A step that was done twenty days ago, in a barrier that remembers for ten."""
    step = Step(engine, retention_s=10 * DAY_S, lock_timeout_s=10)
    step.do()
    step.started_at -= int(_OLD_S * 1000)
    age(step, Op.DO)
    return step


def age(step: Step, op: Op) -> None:
    """Make a row old."""
    now = "utc_timestamp(6)" if step.engine.dialect.name == "mysql" else "now()"
    step.change_row(op, at=text(f"{now} - INTERVAL '{int(_OLD_S)}' SECOND"))


def test_an_undo_that_waits_while_its_step_is_pruned_begins_again_and_is_expired(
    server_database: Engine, beside: Beside
) -> None:
    """Seen to fail without `op = 'do'` in the statement `know`: the undo would take its own new row for knowledge,
    and answer `nothing` for a step that was done.
    """
    step = old_step(server_database)
    with transaction(server_database) as connection:
        assert prune(connection, 10 * DAY_S) == 1
        undoing = beside(step.undo)
        await_lock(server_database)

    assert isinstance(undoing.exception(), Vanished | Expired)
    with pytest.raises(Expired):
        step.undo()
    assert step.rows() == {}


def test_pruning_leaves_a_step_alone_whose_undo_is_under_way(server_database: Engine, beside: Beside) -> None:
    step = old_step(server_database)
    release = threading.Event()
    undo = Ran(hold=release)
    undoing = beside(step.undo, undo)
    assert undo.running.wait(DEADLINE_S)

    with transaction(server_database) as connection:
        assert prune(connection, 10 * DAY_S) == 0

    release.set()
    assert undoing.result().outcome is Outcome.DONE
    assert step.rows() == {"do": "done", "undo": "done"}
