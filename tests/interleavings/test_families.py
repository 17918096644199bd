"""Parents and children whose messages overtake each other, come late or twice, on RabbitMQ (K2 to K5, A4, A5)."""

from __future__ import annotations

import pytest

from amends.coordinator import Saga, call, chain, group, pivot, retry, step
from amends.outbox.wire import Op
from tests.interleavings.services import refuse
from tests.interleavings.town import Town, Trip
from tests.waiting import eventually

PACK = Saga(
    "pack",
    chain(
        step("reserve", to="inventory", undo="release"),
        step("charge", to="payments", undo="refund", timeout="60s"),
    ),
    version=1,
)


def outcomes(parent: Trip, child: Trip) -> list[str]:
    """What the child reported so far, copies among it."""
    return [one.outcome for one in parent.sent("report", child=child.id)]


def call_pack(town: Town, saga: Saga) -> tuple[Trip, Trip]:
    """A parent that calls `pack` as `packing`, not started; and its child."""
    town.world.register(PACK)
    parent = town.trip(saga)
    return parent, parent.child("packing")


def both_replay(*trips: Trip) -> bool:
    return all(trip.replays() for trip in trips)


def test_what_parent_and_child_tell_each_other_is_said_again_until_it_is_received(town: Town) -> None:
    """O1, invariant 16: a broker confirmed it, and lost it. Guard: `needs_receipt=True` in kin._message."""
    saga = Saga(
        "loses", chain(call("pack", name="packing"), step("notify", to="payments", undo=None)), version=1
    )
    families = [call_pack(town, saga) for _ in range(3)]
    (_, called), (reported, reporting), (_, told) = families
    lost = [
        called.hold("start", most=1),
        reported.hold("report", child=reporting.id, most=1),
        told.hold("tell", most=1),
    ]

    for parent, _ in families:
        parent.start()
    for one in lost:
        one.wait()

    def all_are_completed() -> bool:
        with town.world.database.begin() as connection:  # Ten seconds pass.
            connection.exec_driver_sql("UPDATE amends.outbox SET due_at = now() WHERE sent_at IS NOT NULL")
        return {town.world.status(trip.id) for family in families for trip in family} == {"completed"}

    eventually(all_are_completed, 20, what="what was lost to be said again")
    assert [len(one.parcels) for one in lost] == [1, 1, 1]
    for parent, child in families:
        assert both_replay(parent, child)
        assert (child.effects("inventory"), child.effects("payments")) == (["reserve"], ["charge"])


def test_compensate_that_overtakes_the_childs_start_decides_it(town: Town) -> None:
    """K3: the late start, which comes twice, does nothing. Guards: `decided` in births._grow; `_early` in kin.told."""
    together = group(call("pack", name="packing"), step("notify", to="payments", undo=None))
    parent, child = call_pack(town, Saga("overtaken", together, version=1))
    parent.on("payments", "notify", refuse())
    starts = child.hold("start")

    parent.start()
    starts.wait()
    parent.becomes("compensated")
    assert set(outcomes(parent, child)) == {"never"}
    starts.release(copies=2)
    starts.open()

    child.becomes("compensated")
    assert child.calls("inventory") == child.calls("payments") == []
    eventually(lambda: "refused" in outcomes(parent, child), what="the late child to say what became of it")
    eventually(town.world.drained, what="every message to be receipted")
    assert both_replay(parent, child)


def test_a_fence_that_overtakes_the_start_of_the_pivot_keeps_it_from_happening(town: Town) -> None:
    """K5, P1: an unknown child never happened. Guard: `Order.FENCE` in kin._early."""
    charged = step("charge", to="payments", undo="refund")
    parent, child = call_pack(
        town, Saga("overtaken-pivot", chain(charged, pivot(call("pack", name="packing"))), version=1)
    )
    starts = child.hold("start")

    parent.start()
    starts.wait()
    parent.deadline_passes()
    parent.becomes("compensated")
    starts.open()

    child.becomes("compensated")
    assert outcomes(parent, child)[0] == "never"
    assert parent.effects("payments") == ["charge", "refund"]
    assert child.calls("inventory") == child.calls("payments") == []
    assert child.replays()


SHIP = Saga(
    "ship-parcel",
    chain(
        step("reserve", to="inventory", undo="release"),
        pivot(step("charge", to="payments")),
        step("notify", to="inventory"),
    ),
    version=1,
)
SEND = Saga("send", pivot(call("ship-parcel", name="shipping")), version=1)


@pytest.mark.parametrize(
    ("what", "path", "end", "effects"),
    [
        ("reply", "reserve", "compensated", (["reserve", "release"], [])),
        ("command", "charge", "compensated", (["reserve", "release"], [])),
        ("reply", "charge", "completed", (["reserve", "notify"], ["charge"])),
        ("reply", "notify", "completed", (["reserve", "notify"], ["charge"])),
    ],
    ids=["before-its-pivot", "its-pivot-is-lost", "its-pivot-happened", "past-its-pivot"],
)
def test_a_pivot_that_is_a_call_is_fenced_at_the_deadline(
    town: Town, what: str, path: str, end: str, effects: tuple[list[str], list[str]]
) -> None:
    """K5: whatever is lost is lost; only the child knows. Guards: `turn_back` and `fence_pivot` in obeying._back."""
    town.world.register(SHIP)
    parent = town.trip(SEND)
    child = parent.child("shipping")
    lost = child.hold(what, path=path, op=Op.DO)

    parent.start()
    lost.wait()
    parent.deadline_passes()
    eventually(lambda: child.sent("tell", order="fence"), what="the fence")
    if path == "notify":
        assert child.sent("command", op=Op.FENCE) == []
        lost.open()

    parent.becomes(end)
    child.becomes(end)
    assert (child.effects("inventory"), child.effects("payments")) == effects
    lost.open()
    child.repeat("command")
    child.repeat("tell")
    eventually(town.world.drained, what="every message to be receipted")
    assert (child.effects("inventory"), child.effects("payments")) == effects
    assert child.replays()


# A child that an operator is needed for: one of its steps is asked for so late that nobody remembers.
STUCK = Saga(
    "pack-late",
    group(
        step("charge", to="payments", undo="refund"),
        step("reserve", to="inventory", undo="release", timeout="1s", retry=retry(first="50ms")),
    ),
    version=1,
)


def stuck_family(town: Town, name: str) -> tuple[Trip, Trip]:
    """A parent whose child has charged and is stuck, which the parent knows (K4)."""
    town.world.register(STUCK)
    calls = call("pack-late", name="packing")
    parent = town.trip(Saga(name, chain(calls, step("notify", to="payments", undo=None)), version=1))
    child = parent.child("packing")
    lost = child.hold("command", path="reserve", op=Op.DO, attempt=1)
    parent.start()
    lost.wait()
    child.grows_older(days=1_000)
    assert "too long ago" in child.stuck_at()["reserve"]
    assert "is stuck" in parent.stuck_at()["packing"]
    return parent, child


def test_a_child_that_is_stuck_when_its_parent_decides_compensates_what_it_can_at_once(town: Town) -> None:
    """K3, K4, C3; every copy of the order is answered. Guards: `_back` for what was stuck too, in
    obeying._turn_back; the reports that machine.advance keeps of what changed nothing.
    """
    parent, child = stuck_family(town, "stuck-child")

    parent.compensate()
    eventually(lambda: child.effects("payments") == ["charge", "refund"], what="what can be undone")
    assert "too long ago" in child.stuck_at()["reserve"]
    assert "is stuck" in parent.stuck_at()["packing"]
    told = outcomes(parent, child).count("stuck")
    child.repeat("tell", order="compensate")
    eventually(lambda: outcomes(parent, child).count("stuck") > told, what="the copy to be answered")
    child.skip("reserve")

    child.becomes("compensated")
    parent.becomes("compensated")
    assert parent.effects("payments") == child.effects("inventory") == []
    assert parent.replays()


def test_a_child_that_is_held_when_its_call_is_skipped_compensates(town: Town) -> None:
    """A4, A5: its report comes too late, twice. Guards: `draft.effects.append(tell)` in acts._settle; the phase in
    children.concerns.
    """
    parent, child = stuck_family(town, "skipped-call")
    done = parent.hold("report", child=child.id, outcome="done")
    child.skip("reserve")
    done.wait()

    notified = parent.hold("reply", path="notify")
    parent.skip("packing")
    notified.wait()
    eventually(lambda: child.effects("payments") == ["charge", "refund"], what="the child to compensate")
    done.release(copies=2)
    done.open()
    child.stuck_at()
    child.skip("reserve")
    notified.open()
    parent.becomes("completed")

    child.becomes("compensated")
    assert parent.effects("payments") == ["notify"]
    assert len(parent.sent("command", path="notify")) == 1, "nothing is begun anew by what came too late"
    eventually(town.world.drained, what="every message to be receipted")
    assert parent.overrides() == ["skip packing by ann: test"]
    assert parent.replays()


def test_a_child_that_is_held_when_its_parent_is_finished_going_forward_is_settled(town: Town) -> None:
    """A4: the pivot is in doubt, an operator ends it. Guard: `tell_children(draft, Order.SETTLE)` in ending.decide."""
    calls = call("pack", name="packing")
    parent, child = call_pack(
        town, Saga("finished", chain(calls, pivot(step("charge", to="payments"))), version=1)
    )
    parent.on("payments", "charge", refuse(certain=False))
    parent.start()
    parent.stuck_at()
    assert town.world.status(child.id) == "running"

    parent.finish()

    parent.becomes("completed")
    child.becomes("completed")
    assert (child.effects("inventory"), child.effects("payments")) == (["reserve"], ["charge"])
    assert both_replay(parent, child)


def test_a_child_that_is_held_when_its_parent_is_finished_going_back_compensates(town: Town) -> None:
    """A4. Guard: `tell_children(draft, Order.COMPENSATE)` in finishing.finished."""
    parent, child = call_pack(
        town,
        Saga(
            "finished-back",
            chain(
                call("pack", name="packing"),
                step("charge", to="payments", undo="refund"),
                step("notify", to="payments", undo=None),
            ),
            version=1,
        ),
    )
    parent.on("payments", "notify", refuse())
    parent.on("payments", "refund", refuse("the account is closed"))
    parent.start()
    assert "the account is closed" in parent.stuck_at()["charge"]
    assert child.sent("tell") == []

    parent.finish()

    parent.becomes("compensated")
    child.becomes("compensated")
    assert child.effects("inventory") == ["reserve", "release"]
    assert child.effects("payments") == ["charge", "refund"]
    assert both_replay(parent, child)


def test_a_report_that_was_sent_before_the_order_was_heard_decides_nothing(town: Town) -> None:
    """K2, K3: the parent waits for what the child says of its order. Guard: `is not Op.UNDO` in children.take."""
    parent, child = call_pack(town, Saga("late-report", call("pack", name="packing"), version=1))
    reports = parent.hold("report", child=child.id)

    parent.start()
    reports.wait()
    parent.deadline_passes()
    child.becomes("compensated")
    eventually(lambda: {"done", "refused"} <= set(outcomes(parent, child)), what="both reports")
    early = [one for one in reports.parcels if one.body.outcome == "done"]
    town.network.send([one.message for one in early * 2])
    reports.open()

    parent.becomes("compensated")
    assert town.world.state(parent.id).seq == 3, (
        "started, turned back, given back: nothing by the early report"
    )
    assert child.effects("inventory") == ["reserve", "release"]
    assert child.effects("payments") == ["charge", "refund"]
    assert child.replays()
