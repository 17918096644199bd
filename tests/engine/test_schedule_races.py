"""One instant, many at it: coordinators that race, one that does not know what it committed, an operator, the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from amends.coordinator.engine.intake import ScheduleItem
from amends.coordinator.schedules import standing
from amends.coordinator.schedules.missed import Missed, Plan
from amends.coordinator.schedules.records import scheduled_saga_id
from amends.db.engines import open_engine
from amends.outbox.broker import open_broker
from tests.engine.clocks import SteppedClock, stepped_clock
from tests.engine.scheduled import SWEEP, add, found, make_due, sagas, seconds_ago, wait_until_fired
from tests.engine.world import World
from tests.servers.proxy import COMMIT, proxy_to
from tests.waiting import eventually

MANY = 40


@pytest.fixture
def open_url() -> Iterator[Callable[[str], Engine]]:
    """Opens databases; they are closed afterwards."""
    opened: list[Engine] = []

    def open_(url: str) -> Engine:
        opened.append(open_engine(url))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.dispose()


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def test_three_coordinators_fire_each_instant_once(make_world: Callable[..., World]) -> None:
    """S4; each has missed a run too, which is counted once. Guard: FOR UPDATE SKIP LOCKED in LOCK_DUE.

    Without it the ids would still keep a second saga away.
    """
    one = make_world()
    worlds = [one, make_world(one.broker, one.prefix), make_world(one.broker, one.prefix)]
    one.participant("payments")
    one.register(SWEEP)
    names = [f"s{number}" for number in range(MANY)]
    between = (datetime.now(UTC) - timedelta(minutes=20)).minute
    for name in names:
        add(one, name, cron=f"{between} * * * *")
        make_due(one, name, ago_s=3600)

    for world in worlds:
        world.start()

    eventually(lambda: one.value("SELECT sum(fired_runs) FROM amends.schedule") == MANY, what="all to fire")
    for saga_id in (scheduled for name in names for scheduled in sagas(one, name)):
        one.wait_for(saga_id, "completed")
    assert [len(sagas(one, name)) for name in names] == [1] * MANY
    assert one.row("SELECT max(fired_runs), max(missed_runs), max(failed_runs) FROM amends.schedule") == (
        1,
        1,
        0,
    )
    assert len(one.participants["payments"].received) == MANY


@pytest.mark.parametrize("happened", [True, False], ids=["happened", "did-not"])
def test_three_coordinators_race_and_one_commits_without_knowing(
    make_world: Callable[..., World],
    open_url: Callable[[str], Engine],
    caplog: pytest.LogCaptureFixture,
    happened: bool,
) -> None:
    """S4: whoever it was says nothing to anybody; the row tells the others whether there is something left to do.

    Guards: the due time in LOCK_DUE and FIRED in the same transaction (happened); that FIRED is not committed without
    the start (did not).
    """
    looking = make_world()
    looking.participant("payments")
    looking.register(SWEEP)
    add(looking)
    with proxy_to(url_of(looking.database)) as (proxy, url):
        racing = [World(open_url(url), looking.broker, looking.prefix).start() for _ in range(3)]
        due = seconds_ago()
        saga_id = scheduled_saga_id("nightly", round(due.timestamp() * 1000))
        # Whichever of the three is first to commit this saga's start.
        proxy.cut(COMMIT, after=saga_id.encode(), forward=happened)
        make_due(looking, at=due)
        eventually(lambda: "commit_unknown" in caplog.messages, what="one to commit without knowing")
        looking.wait_for(saga_id, "completed")
        fired = wait_until_fired(looking)
        for world in racing:
            world.close()

    assert sagas(looking) == [saga_id]
    assert (fired.fired_runs, fired.last_due) == (1, due)
    assert [command.saga for command in looking.participants["payments"].received] == [saga_id]


def test_an_instant_fired_elsewhere_takes_nothing_from_the_next_one(make_world: Callable[..., World]) -> None:
    """S4: one batch has an instant that another coordinator has fired, and the one that is due now.

    Guard: LOCK_DUE's rows are known by instant, in `Firings.lock`. Known by schedule, the older item takes the row: it
    counts its instant once more, and sets back when the schedule is due.
    """
    world = make_world()
    world.participant("payments")
    world.register(SWEEP)
    add(world)
    due = make_due(world)
    due_ms = round(due.timestamp() * 1000)
    number = world.value("SELECT id FROM amends.schedule")
    years_ahead = due_ms + 10 * 365 * 86_400_000
    plans = {
        due_ms - 300_000: Plan((), due_ms, missed=1),
        due_ms: Plan((due_ms,), years_ahead, missed=0),
    }
    world.coordinator._intake.put(
        [
            ScheduleItem(saga_id="", schedule=number, due_ms=instant, plan=plan)
            for instant, plan in plans.items()
        ]
    )

    world.start()

    fired = wait_until_fired(world)
    assert (fired.fired_runs, fired.missed_runs) == (1, 0)
    assert round(fired.next_due.timestamp() * 1000) == years_ahead


def pause_and_resume(database: Engine, name: str, *, actor: str, reason: str) -> None:
    standing.pause(database, name, actor=actor, reason=reason)
    standing.resume(database, name, actor=actor, reason=reason)


@pytest.mark.parametrize("act", [standing.pause, standing.remove, pause_and_resume])
def test_what_is_handed_over_is_not_fired_after_an_operator_stopped_it(
    make_world: Callable[..., World], act: Callable[..., object]
) -> None:
    """Once `pause` or `remove` has returned nothing is fired, and `resume` begins with the next instant.

    Guards: `paused_at IS NULL` and the due time in LOCK_DUE.
    """
    world = make_world()
    world.participant("payments")
    world.register(SWEEP)
    add(world)
    add(world, "other")
    make_due(world)
    world.coordinator._scheduling.turn()

    act(world.database, "nightly", actor="op", reason="stop")
    make_due(world, "other")
    world.start()

    wait_until_fired(world, "other")
    assert sagas(world) == []


def test_a_pause_waits_for_a_firing_under_way(make_world: Callable[..., World]) -> None:
    """Then it fired before, and once; nothing after: both take the row's lock."""
    world = make_world().start()
    world.participant("payments")
    world.register(SWEEP)
    add(world)
    due = seconds_ago()
    saga_id = scheduled_saga_id("nightly", round(due.timestamp() * 1000))
    with world.database.connect() as blocker, blocker.begin() as blocking:
        # Whoever inserts this saga waits for us, with the schedule's row locked.
        blocker.execute(
            text(
                "INSERT INTO amends.saga (id, name, version, format, status, backwards, input, input_hash,"
                " start_message, started_ms, clock_ms, seq, head)"
                " VALUES (:id, 'x', 1, 1, 'running', false, '{}', '', '', 0, 0, 0, '{}')"
            ),
            {"id": saga_id},
        )
        make_due(world, at=due)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        eventually(lambda: world.value(waiting) == 1, what="the firing to be under way")

        paused: list[standing.Schedule] = []
        pausing = threading.Thread(
            target=lambda: paused.append(standing.pause(world.database, "nightly", actor="op", reason="r")[0])
        )
        pausing.start()
        eventually(lambda: world.value(waiting) == 2, what="the pause to wait")
        blocking.rollback()
    pausing.join(10)

    assert [(one.fired_runs, one.paused_at is not None) for one in paused] == [(1, True)]
    assert sagas(world) == [saga_id]


@pytest.fixture
def clock(coordinator_database: Engine) -> Iterator[SteppedClock]:
    """A clock that can be set."""
    with stepped_clock(coordinator_database) as stepped:
        yield stepped


def test_the_databases_clock_decides_and_no_step_of_it_fires_an_instant_twice(clock: SteppedClock) -> None:
    """A clock that is an hour ahead, then put back; the schedule is removed and added again meanwhile.

    Guards: `now()` in DUE; NOW_MS in standing.add; `scheduled_saga_id`.
    """
    database, step = clock.database, clock.step
    name = "clock-steps"
    world = World(database, open_broker(f"memory://{name}"), name).start()
    world.participant("payments")
    world.register(SWEEP)

    step(7200)
    add(world, "ahead", cron="* * * * *")
    ahead = standing.remove(database, "ahead", actor="op", reason="looked at").next_due
    step(0)
    # Once within the hour that the clock is ahead, and neither now nor at its end.
    minute = (datetime.now(UTC) + timedelta(minutes=30)).minute
    add(world, cron=f"{minute} * * * *")
    due = found(world).next_due
    step(3600)
    fired = wait_until_fired(world)
    step(0)
    standing.remove(database, "nightly", actor="op", reason="the clock was wrong")
    add(world, cron=f"{minute} * * * *", missed=Missed.ALL)
    again = found(world)
    step(3600)
    eventually(lambda: found(world).next_due > due, what="the schedule to go on")
    world.close()

    assert ahead - datetime.now(UTC) > timedelta(minutes=110)
    assert (fired.last_due, again.next_due) == (due, due)
    assert len(sagas(world)) == 1
    assert (found(world).fired_runs, found(world).last_error) == (0, None)
