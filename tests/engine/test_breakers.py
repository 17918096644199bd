"""A participant that is down undoes nothing (M6); windows bound what is out (E4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event

from amends.coordinator import Saga, chain, retry, step
from amends.coordinator.engine import breakers
from amends.coordinator.engine.gate import BreakerRow, Gate
from amends.coordinator.saga.state import Phase, Step
from amends.outbox import wire
from amends.outbox.ports import command_queue
from tests.engine.scripted import reply
from tests.engine.world import World
from tests.waiting import eventually

SLOW = Saga(
    "slow",
    chain(
        step("reserve", to="inventory", undo="release"),
        step(
            "charge",
            to="payments",
            undo="refund",
            timeout="300ms",
            retry=retry(first="50ms", longest="200ms", limit=4),
        ),
    ),
    version=1,
)

ONCE = Saga(
    "once",
    step("charge", to="payments", undo="refund", timeout="2s", retry=retry(limit=0)),
    version=1,
)


def breaker(world: World, queue: str = "payments.do") -> str | None:
    return world.value("SELECT state FROM amends.breaker WHERE queue = :queue", queue=queue)


def held(world: World, name: str) -> int:
    """How many timers of such sagas fired into an open breaker."""
    return int(
        world.value(
            "SELECT count(*) FROM amends.timer JOIN amends.saga ON saga.id = timer.saga_id"
            " WHERE saga.name = :name AND held_since IS NOT NULL",
            name=name,
        )
    )


def test_a_participant_that_is_down_undoes_nothing(make_world: Callable[..., World]) -> None:
    """M6: the breaker opens before any step's retries are exhausted, and then no policy runs.

    Guard: `gate.is_open(queue)` in timing.fire; without it what may not be retried, and times out only while the
    breaker is open, is given up and undone.
    """
    world = make_world(breaker_failures=3).start()
    up = Event()
    world.participant("inventory")
    world.participant("payments", lambda command: reply(command, "payments") if up.is_set() else None)
    world.register(SLOW)
    world.register(ONCE)
    sagas = [world.start_saga("once", {}).saga_id for _ in range(2)]
    sagas += [world.start_saga("slow", {}).saga_id for _ in range(20)]
    eventually(lambda: breaker(world) == "open", what="the breaker to open")

    probes = world.value("SELECT probes FROM amends.breaker WHERE queue = 'payments.do'")
    eventually(
        lambda: world.value("SELECT probes FROM amends.breaker WHERE queue = 'payments.do'") >= probes + 4,
        what="some probes: many timeouts later",
    )
    eventually(lambda: held(world, "once") > 0, 20, what="a timeout that the open breaker holds")
    assert {world.status(one) for one in sagas} == {"running"}
    assert world.participants["inventory"].commands("undo") == []

    up.set()

    for one in sagas:
        world.wait_for(one, "completed")
    assert breaker(world) == "closed"


def test_a_breaker_that_another_coordinator_closed_takes_as_many_timeouts_to_open_again() -> None:
    """M6: opened by repeated timeouts. Guard: the `pop` in Gate.refresh."""
    gate = Gate(window=10, breaker_failures=3)
    for _ in range(3):
        gate.timed_out("payments.do")
    assert gate.take_decisions() == ({"payments.do"}, set())

    gate.refresh({}, {}, {"payments.do": BreakerRow(open=False, closed_ms=1)})
    gate.timed_out("payments.do")

    assert not gate.is_open("payments.do")


def test_what_came_back_while_the_database_was_asked_makes_room_once() -> None:
    """E4: the query may have seen the answers already. Guard: `max` in Gate.refresh.

    Without it each makes room twice. Seen as twenty commands out of a window of ten, once in many whole runs.
    """
    gate = Gate(window=10, breaker_failures=3)
    waiting = [
        Step(path=f"charge/{n}", node="charge", participant="payments", phase=Phase.AWAITING, since=0)
        for n in range(10)
    ]
    for step_ in waiting:
        gate.moved(None, step_)
    gate.batch_over()
    assert gate.room("payments.do") == 0

    gate.begin_refresh()
    for step_ in waiting[:4]:
        gate.moved(step_, replace(step_, phase=Phase.SETTLED))
    gate.batch_over()
    gate.refresh({"payments.do": 6}, {}, {})

    assert gate.room("payments.do") == 4


def test_what_went_out_while_the_database_was_asked_takes_its_room() -> None:
    """E4: the query may not have seen it yet. Guard: `_since_refresh`."""
    gate = Gate(window=10, breaker_failures=3)
    sent = Step(path="charge", node="charge", participant="payments", phase=Phase.AWAITING, since=0)

    gate.begin_refresh()
    gate.moved(None, sent)
    gate.batch_over()
    gate.refresh({}, {}, {})

    assert gate.room("payments.do") == 9


def test_a_queue_is_probed_however_long_it_has_been_down(world: World) -> None:
    """M6. Guard: `least(probes, 30)` in LEASE_PROBE; without it the power overflows after some 17 hours of probes."""
    with world.database.begin() as connection:
        breakers.store_decisions(connection, ["lone.do"], [], failures=5, pause_s=0)
        connection.exec_driver_sql("UPDATE amends.breaker SET probes = 100000 WHERE queue = 'lone.do'")

    with world.database.begin() as connection:
        breakers.lease_probe(connection, "lone.do", first_s=5.0, longest_s=60.0)

    assert world.value("SELECT probes FROM amends.breaker WHERE queue = 'lone.do'") >= 100_001


def test_while_a_breaker_is_open_new_commands_are_parked(make_world: Callable[..., World]) -> None:
    """E4: what meets an open breaker waits in the database, without timeouts; it adds nothing to the queue."""
    world = make_world(breaker_failures=2).start()
    world.participant("inventory")
    world.register(SLOW)
    first = [world.start_saga("slow", {}).saga_id for _ in range(2)]
    eventually(lambda: breaker(world) == "open", what="the breaker to open")

    later = [world.start_saga("slow", {}).saga_id for _ in range(10)]

    eventually(
        lambda: (
            world.value("SELECT count(*) FROM amends.step WHERE path = 'charge' AND phase = 'parked'") >= 8
        ),
        what="the later ones to be parked",
    )
    world.participant("payments")
    for one in first + later:
        world.wait_for(one, "completed")


def test_an_open_breaker_with_only_undos_waiting_still_probes(make_world: Callable[..., World]) -> None:
    """M6: the probe is any waiting command of the queue. Undos bypass the window, not the breaker."""
    world = make_world(breaker_failures=2).start()
    world.register(
        Saga(
            "undoing",
            chain(
                step("a", to="inventory", undo="release", undo_timeout="200ms"),
                step("b", to="payments", undo="refund"),
            ),
            version=1,
        )
    )
    answering = {"undo": False}
    world.participant(
        "inventory",
        lambda command: (
            None if command.op == "undo" and not answering["undo"] else reply(command, "inventory")
        ),
    )
    world.participant("payments", lambda command: reply(command, "payments", "refused", reason="no"))
    sagas = [world.start_saga("undoing", {}).saga_id for _ in range(5)]
    eventually(lambda: breaker(world, "inventory.undo") == "open", what="the undo breaker to open")

    answering["undo"] = True

    for one in sagas:
        world.wait_for(one, "compensated")
    assert breaker(world, "inventory.undo") == "closed"


def test_the_window_bounds_what_is_out(make_world: Callable[..., World]) -> None:
    """E4: what exceeds it is parked and drawn as room appears, names in turn."""
    world = make_world(window=10).start()
    out: list[wire.Command] = []
    world.participant("payments", lambda command: out.append(command))
    for name in ("busy", "quiet"):
        # Nothing is sent again while this test counts what was sent.
        world.register(Saga(name, step("charge", to="payments", undo="refund", timeout="10m"), version=1))
    busy = [world.start_saga("busy", {}).saga_id for _ in range(40)]
    quiet = [world.start_saga("quiet", {}).saga_id for _ in range(3)]
    eventually(lambda: len(out) >= 10, what="the window to fill")
    eventually(
        lambda: world.value("SELECT count(*) FROM amends.step WHERE phase = 'parked'") == 33,
        what="the rest to be parked",
    )
    assert len(out) == 10

    order: list[str] = []
    while len(order) < 43:
        eventually(lambda: len(out) > len(order), what="the next command")
        assert len(out) - len(order) <= 10
        command = out[len(order)]
        order.append(command.name)
        world.participants["payments"].answer(command)

    # What was drawn before the quiet ones came goes first; after that names take turns.
    assert "quiet" in order[10:40], "a name with little waiting is served in turn"
    for one in busy + quiet:
        world.wait_for(one, "completed")


def test_a_command_nobody_consumes_expires_with_its_attempt(make_world: Callable[..., World]) -> None:
    """M6: the queue of a participant that is down holds at most one message per step instance."""
    world = make_world(breaker_failures=50).start()
    world.register(Saga("lone", step("charge", to="payments", undo="refund", timeout="1s"), version=1))
    answer = world.start_saga("lone", {})
    eventually(
        lambda: world.value("SELECT attempt FROM amends.step") >= 4,
        what="several attempts at a queue nobody consumes",
    )

    consumer = world.broker.consumer([command_queue(world.prefix, "payments", undo=False)], prefetch=100)
    waiting = consumer.receive(1)
    consumer.close()

    assert len(waiting) <= 1
    world.participant("payments")
    world.wait_for(answer.saga_id, "completed")
