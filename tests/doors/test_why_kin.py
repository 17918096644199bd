"""`why` of parents and children: what helps is named, also where it is to be done at the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amends.coordinator import Saga, arg, call, chain, each, pivot, step, wait
from amends.outbox import wire
from tests.doors.explained import at, started, waits, why
from tests.doors.house import House, Run
from tests.engine.scripted import reply
from tests.waiting import eventually

MakeHouse = Callable[..., House]


def child_of(house: House, saga_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = house.http().get("/sagas", params={"parent": saga_id}).json()["sagas"]
        return dict(found[0]) if found else None

    return eventually(look, what="the child") or {}


def test_of_a_stuck_child_the_parent_advises_to_retry_the_child(make_house: MakeHouse) -> None:
    """A retry of the parent only hears again that it is stuck. Guard: `step.child` in why.sagas._stuck."""
    house = make_house()
    house.world.register(
        Saga("ship", chain(pivot(step("pay", to="payments")), step("send", to="vans")), version=1)
    )
    house.world.register(
        Saga("order", chain(pivot(step("book", to="payments")), call("ship", name="out")), version=1)
    )
    house.world.participant("payments")
    van = {"open": False}

    def vans(command: wire.Command) -> wire.Reply:
        return reply(command, "vans", "done" if van["open"] else "refused", reason="no road")

    house.world.participant("vans", vans)
    parent = started(house, "order")
    house.stuck(parent)
    child = child_of(house, parent)["id"]

    (told,) = why(house, parent)["waits"]
    assert told["acts"][:2] == [f"amends why {child}", f"amends sagas retry {child} --reason ..."]
    assert not any(f"retry {parent}" in act or "edit" in act for act in told["acts"])
    assert (
        f"`amends sagas retry {child} --reason ...`"
        in house.http().get(f"/sagas/{parent}").json()["waits_for"]
    )

    van["open"] = True
    assert house.http().post(f"/sagas/{child}/retry", json={"reason": "road open"}).status_code == 200
    assert house.ended(parent)["status"] == "completed"


def test_a_child_that_is_held_waits_for_its_parent_and_has_no_deadline(
    make_house: MakeHouse, amends: Run
) -> None:
    """K2. Guards: `queries.HELD`, and `draft.through` in saga.acts.set_deadline."""
    house = make_house()
    house.world.register(Saga("leg", step("fly", to="planes", undo="land"), version=1))
    house.world.register(
        Saga("trip", chain(call("leg"), wait("go"), pivot(step("pay", to="payments"))), version=1)
    )
    house.world.participant("planes")
    house.world.participant("payments")
    parent = started(house, "trip")
    child = child_of(house, parent)["id"]

    told = waits(house, child, "parent")
    shown = house.http().get(f"/sagas/{child}").json()
    due = house.http().get("/timers", params={"saga": child}).json()["timers"]
    moved = amends("timers", "move", child, "--deadline", "--in", "1h", "--reason", "x", url=house.server.url)

    assert told["text"] == f"it is done, and waits for its parent, saga {parent}, to decide (K2)"
    assert told["acts"] == [f"amends why {parent}"]
    assert why(house, child)["deadline"]["then"] == "nothing: it is done, and its parent decides (K2)"
    assert (shown["deadline_at"], due) == (None, [])
    assert shown["waits_for"] == told["text"]
    assert (moved.status, "no deadline applies" in moved.err) == (1, True)
    assert [one["kind"] for one in house.http().get("/timers", params={"saga": parent}).json()["timers"]] == [
        "deadline"
    ]


def test_an_undo_counts_its_own_tries(make_house: MakeHouse, amends: Run) -> None:
    """Guard: `timeline.tries_of`; without it the do's attempts are counted too: "try 2" for the first undo."""
    house = make_house()
    house.world.register(
        Saga(
            "pay",
            chain(step("hold", to="planes", undo="land"), step("charge", to="payments", undo=None)),
            version=1,
        )
    )
    house.world.participant(
        "planes",
        lambda command: reply(
            command,
            "planes",
            "done" if command.op is wire.Op.DO else "failed",
            reason="closed",
            retry_after_s=900.0,
        ),
    )
    house.world.participant("payments", lambda command: reply(command, "payments", "refused", reason="no"))
    saga_id = started(house)

    wait = waits(house, saga_id, "backoff")
    entries = house.http().get(f"/sagas/{saga_id}/timeline").json()["entries"]
    shown = house.http().get(f"/sagas/{saga_id}").json()["waits_for"]

    assert wait["text"] == "undo of hold is tried again after attempt 1: closed"
    assert wait["next"] == "attempt 2"
    (undone,) = [one for one in entries if one["op"] == "undo" and one["what"] == "step"]
    assert (undone["attempt"], undone["tries"]) == (2, 1)
    assert shown == "hold: undo of hold is tried again: closed"


def test_many_that_wait_alike_are_told_once(make_house: MakeHouse, amends: Run) -> None:
    """Guard: why.grouping; without it there are 120 waits, and `more`."""
    house = make_house()
    house.world.register(
        Saga(
            "pack",
            each(arg.items, step("o", to="planes", undo="land"), at_most=200),
            version=1,
        )
    )
    saga_id = str(
        house.http().post("/sagas", json={"name": "pack", "input": {"items": list(range(120))}}).json()["id"]
    )

    def alone() -> dict[str, Any] | None:
        found = why(house, saga_id)["waits"]
        return found[0] if len(found) == 1 and found[0]["count"] == 120 else None

    told = eventually(alone, what="all items to wait alike") or {}

    assert (told["path"], told["last_path"]) == ("o/0", "o/119")
    assert at(told["since"])
    assert house.http().get(f"/sagas/{saga_id}").json()["waits_for"].startswith("o/0 ... o/119 (120): ")
    assert "o/0 ... o/119 (120)" in amends("why", saga_id, url=house.server.url).out
