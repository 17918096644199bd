"""Schedules on the real engine: a saga for each instant, and what becomes of one that cannot start (S4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import text

from amends.coordinator import Saga, rollout, step
from amends.coordinator.errors import InvalidSchedule, ScheduleStands, UnknownSchedule
from amends.coordinator.schedules import standing
from amends.coordinator.schedules.missed import Missed
from amends.db.engines import transaction
from tests.engine.scheduled import SWEEP, add, found, make_due, sagas, wait_until_fired
from tests.engine.world import World
from tests.waiting import eventually


class Other(msgspec.Struct):
    shop: str


OTHER_INPUT = Saga("sweep", step("charge", to="payments", undo="refund"), version=2, input=Other)


def change(world: World, statement: str, **values: object) -> None:
    """Do behind everybody's back what no door does."""
    with transaction(world.database) as connection:
        connection.execute(text(statement), values)


@pytest.fixture
def ready(world: World) -> World:
    """A coordinator that knows the saga `sweep`, and its participant."""
    world.participant("payments")
    world.register(SWEEP)
    return world


def test_a_schedule_that_is_due_starts_a_saga_like_any_other(ready: World) -> None:
    add(ready, labels={"shop": "north"})

    due = make_due(ready)
    standing_ = wait_until_fired(ready)

    (saga_id,) = sagas(ready)
    ready.wait_for(saga_id, "completed")
    stored = ready.state(saga_id)
    assert stored.input == {"amount": 3}
    assert stored.labels == {
        "shop": "north",
        "schedule": "nightly",
        "due": due.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert (str(standing_.last_saga), standing_.last_due) == (saga_id, due)
    assert ready.replayed(saga_id) == stored
    assert (standing_.next_due.month, standing_.next_due.day) == (1, 1)


def test_what_cannot_start_is_not_added(ready: World) -> None:
    """Checked as a start is: definition, version, input, labels."""
    unfit = add(ready, input={"amount": "three"})
    unknown = add(ready, saga="sweeep")
    no_such_version = add(ready, version=7)
    with pytest.raises(InvalidSchedule, match="'due' is the schedule's own"):
        add(ready, labels={"due": "today"})

    assert isinstance(unfit, standing.Unstartable)
    assert (unfit.refusal.verdict, unfit.refusal.field) == ("rejected", "amount")
    assert isinstance(unknown, standing.Unstartable)
    assert unknown.refusal.verdict == "unknown_definition"
    assert isinstance(no_such_version, standing.Unstartable)
    assert "version 7" in no_such_version.refusal.reason
    assert standing.every(ready.database) == []


def test_added_twice_it_stands_once_and_other_content_is_told(ready: World) -> None:
    assert add(ready, labels={"a": "1"}) is True
    first = found(ready)

    assert add(ready, labels={"a": "1"}) is False
    with pytest.raises(ScheduleStands, match="amends schedule remove nightly"):
        add(ready, labels={"a": "2"})

    assert found(ready) == first
    assert ready.value("SELECT count(*) FROM amends.audit WHERE act = 'schedule_add'") == 1


def test_their_number_is_bounded(ready: World) -> None:
    add(ready)
    change(
        ready,
        """
        INSERT INTO amends.schedule (name, cron, timezone, saga, input, missed, created_by, next_due)
        SELECT 'more-' || n, cron, timezone, saga, input, missed, 'test', next_due
        FROM amends.schedule, generate_series(2, :most) AS n
        """,
        most=standing.SCHEDULES_MAX,
    )

    with pytest.raises(InvalidSchedule, match="the limit"):
        add(ready, "one-more")
    with pytest.raises(UnknownSchedule):
        found(ready, "one-more")


def test_a_definition_that_is_gone_is_told_and_delays_nothing_else(ready: World) -> None:
    """The instant is given up, and the next is set. Guard: UNKNOWN_DEFINITION in firing.Firings.settle."""
    ready.register(Saga("gone", step("charge", to="payments", undo="refund"), version=1))
    add(ready, "bad", saga="gone")
    add(ready, "good")
    change(ready, "DELETE FROM amends.definition WHERE name = 'gone'")

    make_due(ready, "bad", ago_s=5)
    make_due(ready, "good")

    wait_until_fired(ready, "good")
    eventually(lambda: found(ready, "bad").failed_runs == 1, what="the failure to be told")
    bad = found(ready, "bad")
    assert "amends apply" in (bad.last_error or "")
    assert bad.next_due > datetime.now(UTC)
    assert sagas(ready, "bad") == []


def test_an_input_that_fits_no_more_is_told_until_a_run_succeeds(ready: World) -> None:
    """No rejected saga is left behind: the schedule itself tells. Guard: `is_message` in births._embryo."""
    add(ready)
    ready.register(OTHER_INPUT)

    make_due(ready, ago_s=30)
    eventually(lambda: found(ready).failed_runs == 1, what="the failure to be told")
    failed = found(ready)
    ready.register(Saga("sweep", step("charge", to="payments", undo=None), version=3))
    make_due(ready)
    fired = wait_until_fired(ready)

    assert "input does not fit 'sweep'" in (failed.last_error or "")
    assert failed.failed_at is not None
    assert (fired.last_error, fired.failed_at, fired.failed_runs) == (None, None, 1)
    assert ready.value("SELECT count(*) FROM amends.saga") == 1


def test_a_pinned_version_stays_when_another_becomes_active(ready: World) -> None:
    add(ready, version=1)
    ready.register(OTHER_INPUT)

    make_due(ready)
    wait_until_fired(ready)

    assert ready.value("SELECT version FROM amends.saga") == 1


def test_a_definition_of_a_newer_release_is_left_to_newer_coordinators(ready: World) -> None:
    """E3: it stays due until one comes that can read it. Guard: `_can` in firing.Firings.lock."""
    add(ready)
    body = json.dumps(
        Saga("sweep", step("charge", to="payments", undo="refund"), version=9).definition.to_json()
    )
    change(
        ready,
        "UPDATE amends.definition SET active = false;"
        " INSERT INTO amends.definition (name, version, hash, body, active, registered_by)"
        " VALUES ('sweep', 9, 'x', '{\"language\": \"of tomorrow\"}', true, 'test')",
    )

    due = make_due(ready)
    eventually(lambda: found(ready).last_error, what="the schedule to tell")
    waiting = found(ready)
    change(ready, "UPDATE amends.definition SET body = CAST(:body AS json) WHERE version = 9", body=body)
    fired = wait_until_fired(ready)

    assert "newer coordinator" in (waiting.last_error or "")
    assert (waiting.next_due, waiting.failed_runs) == (due, 0)
    assert (fired.last_due, fired.last_error) == (due, None)


def test_a_suspended_saga_holds_its_schedules_runs(ready: World) -> None:
    """Held, not lost, and not sent again as a message would be. Guards: SUSPENDED in firing.Firings.settle;
    `is_message` in births.settle."""
    add(ready)
    rollout.suspend(ready.database, "sweep", actor="op", reason="wrong amounts")

    due = make_due(ready)
    eventually(lambda: found(ready).last_error, what="the schedule to tell")
    held = found(ready)
    again = add(ready)
    another = add(ready, "another")
    rollout.resume(ready.database, "sweep", actor="op", reason="")
    fired = wait_until_fired(ready)

    assert "wrong amounts" in (held.last_error or "")
    assert (held.next_due, held.failed_runs) == (due, 0)
    assert again is False
    assert isinstance(another, standing.Unstartable)
    assert another.refusal.verdict == "suspended"
    assert (fired.last_due, fired.last_error) == (due, None)
    assert ready.value("SELECT count(*) FROM amends.outbox WHERE type = 'amends.start'") == 0
    assert len(sagas(ready)) == 1


def test_a_paused_schedule_does_not_fire_and_misses_nothing(ready: World) -> None:
    add(ready, cron="* * * * *")
    add(ready, "other")
    standing.pause(ready.database, "nightly", actor="op", reason="stocktaking")

    make_due(ready, ago_s=3600)
    make_due(ready, "other")
    wait_until_fired(ready, "other")
    paused = found(ready)
    resumed, _ = standing.resume(ready.database, "nightly", actor="op", reason="done")

    assert paused.fired_runs == 0
    assert standing.upcoming(paused, 3) == []
    assert timedelta(0) < resumed.next_due - datetime.now(UTC) <= timedelta(minutes=1)
    assert resumed.missed_runs == 0
    acts = "SELECT string_agg(act || ' ' || reason, ', ' ORDER BY id) FROM amends.audit WHERE actor = 'op'"
    assert ready.value(acts) == "schedule_pause stocktaking, schedule_resume done"


def test_to_resume_what_runs_changes_nothing(ready: World) -> None:
    """Else an instant that is due just now would be passed over. Guard: `paused_at is not None` in resume."""
    add(ready)
    standing.pause(ready.database, "nightly", actor="op", reason="r")
    standing.resume(ready.database, "nightly", actor="op", reason="r")
    due = datetime(2100, 1, 1, tzinfo=UTC)
    make_due(ready, at=due)

    again, changed = standing.resume(ready.database, "nightly", actor="op", reason="r")
    assert (again.next_due, changed) == (due, False)


@pytest.mark.parametrize("pruned", [False, True], ids=["kept", "pruned"])
def test_removed_and_added_again_it_fires_no_instant_twice_and_goes_on(
    make_world: Callable[..., World], pruned: bool
) -> None:
    """The id follows from name and instant (S4), and outlives its saga (S3); one instant is passed over, not the rest.

    Guards: `scheduled_saga_id`; DUPLICATE, CONFLICT and SPENT in firing.Firings.settle.
    """
    world = make_world(retention_s=0.01 if pruned else 3600).start()
    world.participant("payments")
    world.register(SWEEP)
    add(world)
    due = make_due(world)
    wait_until_fired(world)
    (first,) = sagas(world)
    world.wait_for(first, "completed")
    if pruned:
        eventually(lambda: world.coordinator._keeping.prune() == 1, what="the saga to be pruned")

    standing.remove(world.database, "nightly", actor="op", reason="change")
    add(world, input={"amount": 4})
    make_due(world, at=due)

    eventually(lambda: found(world).next_due > due, what="the schedule to go on")
    again = found(world)
    assert (again.fired_runs, again.failed_runs, again.last_error) == (0, 0, None)
    assert sagas(world) == ([] if pruned else [first])
    make_due(world, at=due - timedelta(seconds=1))
    wait_until_fired(world)


def test_one_that_breaks_the_engine_is_put_aside_and_goes_on(ready: World) -> None:
    """E2. Guard: `broken` in quarantine.quarantine and firing.Firings.settle."""
    add(ready, "bad")
    add(ready, "good")
    change(
        ready,
        """
        CREATE FUNCTION amends.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.labels->>'schedule' = 'bad' THEN RAISE 'cannot be stored'; END IF; RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON amends.saga FOR EACH ROW EXECUTE FUNCTION amends.refuse()
        """,
    )

    make_due(ready, "bad", ago_s=5)
    make_due(ready, "good")

    wait_until_fired(ready, "good")
    eventually(lambda: found(ready, "bad").failed_runs == 1, what="the failure to be told")
    bad = found(ready, "bad")
    assert "internal error" in (bad.last_error or "")
    assert bad.next_due > datetime.now(UTC)
    row = ready.row("SELECT type, convert_from(body, 'UTF8'), error FROM amends.quarantine")
    assert row[:2] == ("schedule", "bad")
    assert "cannot be stored" in row[2]


def test_one_that_this_machine_cannot_plan_tells_and_stays_due(ready: World) -> None:
    """Another machine may know its time zone. Guard: `except Exception` in scheduling.Scheduling._planned."""
    add(ready, "bad")
    add(ready, "good")
    change(ready, "UPDATE amends.schedule SET timezone = 'Mars/Olympus' WHERE name = 'bad'")

    due = make_due(ready, "bad", ago_s=5)
    make_due(ready, "good")

    wait_until_fired(ready, "good")
    bad = found(ready, "bad")
    assert "Mars/Olympus" in (bad.last_error or "")
    assert bad.next_due == due


AN_HOURS_OUTAGE = {Missed.SKIP: ([], 3), Missed.ONCE: ([20], 2), Missed.ALL: ([60, 40, 20], 0)}


@pytest.mark.parametrize("policy", list(Missed))
def test_after_an_hours_outage_the_policy_decides(make_world: Callable[..., World], policy: Missed) -> None:
    """It was due 60, 40 and 20 minutes ago, and no coordinator ran."""
    minutes_ago, missed = AN_HOURS_OUTAGE[policy]
    world = make_world()
    world.participant("payments")
    world.register(SWEEP)
    now = datetime.now(UTC)
    past = [(now - timedelta(minutes=ago)).minute for ago in (40, 20)]
    add(world, cron=f"{past[0]},{past[1]} * * * *", missed=policy)
    due = make_due(world, ago_s=3600)

    world.start()

    eventually(lambda: found(world).next_due > now, what="the schedule to have caught up")
    standing_ = found(world)
    assert (standing_.fired_runs, standing_.missed_runs, standing_.failed_runs) == (
        len(minutes_ago),
        missed,
        0,
    )
    instants = [datetime.fromisoformat(world.state(one).labels["due"]) for one in sagas(world)]
    expected = [due if ago == 60 else now - timedelta(minutes=ago) for ago in minutes_ago]
    assert len(instants) == len(expected)
    assert all(
        abs(one - other) <= timedelta(minutes=1) for one, other in zip(instants, expected, strict=True)
    )


def test_all_works_off_more_than_one_transaction_takes(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.participant("payments")
    world.register(SWEEP)
    add(world, cron="* * * * *", missed=Missed.ALL)
    make_due(world, ago_s=25 * 60)

    world.start()

    eventually(lambda: found(world).next_due > datetime.now(UTC), what="the schedule to have caught up")
    assert found(world).fired_runs in (25, 26, 27)
    assert len(sagas(world)) == found(world).fired_runs
    assert found(world).missed_runs == 0
