"""`why` names what a step waits for that asked no participant: a sleep, a signal, a child saga."""

from __future__ import annotations

from collections.abc import Callable

from amends.coordinator import Saga, call, chain, group, pivot, sleep, step, wait
from amends.outbox import wire
from tests.doors.explained import PATIENT, at, silent, started, waits, why
from tests.doors.house import House
from tests.engine.scripted import reply
from tests.waiting import eventually

MakeHouse = Callable[..., House]


def test_a_sleep_and_a_missing_signal_are_told(make_house: MakeHouse) -> None:
    house = make_house()
    look = step("look", to="payments", reads=True)
    house.world.register(Saga("nap", chain(sleep("2h"), look), version=1))
    house.world.register(
        Saga(
            "ask", chain(wait("approved", signal="yes", timeout="1h", on_timeout="continue"), look), version=1
        )
    )
    house.world.register(Saga("ask-long", chain(wait("approved"), look), version=1))

    slept, asked, long = (started(house, name) for name in ("nap", "ask", "ask-long"))

    nap = waits(house, slept, "sleep")
    assert 7_100 < (at(nap["next_at"]) - at(nap["since"])).total_seconds() < 7_300
    assert nap["acts"] == [f"amends timers move {slept} sleep --in 0s --reason ..."]
    signal = waits(house, asked, "signal")
    assert "the signal 'yes' has not come" in signal["text"]
    assert signal["next"] == "without the signal the saga goes on"
    assert signal["next_at"] is not None
    assert signal["acts"] == [f"amends sagas signal {asked} yes"]
    endless = waits(house, long, "signal")
    assert (endless["next"], endless["next_at"]) == ("the signal, or the saga's deadline", None)


def test_a_child_saga_that_has_not_told_is_named(make_house: MakeHouse) -> None:
    house = make_house()
    house.world.register(PATIENT)
    house.world.participant("payments", silent)
    house.world.register(Saga("parent", call("pay"), version=1))

    saga_id = started(house, "parent")
    eventually(lambda: "has not told" in waits(house, saga_id, "child")["text"], what="the child to begin")
    parent = waits(house, saga_id, "child")
    (child,) = house.http().get("/sagas", params={"parent": saga_id}).json()["sagas"]

    named = f"the child saga 'pay' ({child['id']}, running) that pay called has not told what became of it"
    assert named in parent["text"]
    assert parent["acts"] == [f"amends why {child['id']}"]


def test_a_held_child_and_one_that_is_finished_ignore_their_deadline(make_house: MakeHouse) -> None:
    """Guards: `through` and `finishing` in `why/sagas.py`; without them it "turns back and compensates" (K2, A4)."""
    house = make_house()
    house.world.register(Saga("child", step("a", to="payments", undo="b"), version=1))
    house.world.register(Saga("parent", group(call("child"), wait("go")), version=1))
    house.world.register(Saga("odd", pivot(step("a", to="stock")), version=1))
    house.world.participant("payments")

    parent = started(house, "parent")

    def held() -> str | None:
        children = house.http().get("/sagas", params={"parent": parent}).json()["sagas"]
        deadline = why(house, children[0]["id"])["deadline"] if children else None
        return str(deadline["then"]) if deadline and deadline["then"].startswith("nothing") else None

    assert eventually(held, what="held") == "nothing: it is done, and its parent decides (K2)"

    def in_doubt(command: wire.Command) -> wire.Reply | None:
        fenced = command.op is wire.Op.FENCE  # The fence of the finish is not answered: it stays under way.
        return None if fenced else reply(command, "stock", "refused", reason="r", certain=False)

    house.world.participant("stock", in_doubt)
    odd = started(house, "odd")
    house.stuck(odd)
    house.http().post(f"/sagas/{odd}/finish", json={"reason": "counted"})

    assert why(house, odd)["deadline"]["then"] == "nothing: an operator ends it as it is (A4)"


def test_every_page_of_a_saga_says_which_of_the_three_it_waits_for(make_house: MakeHouse) -> None:
    """Guard: the plan in http.showing; without it "its time, a signal or a child saga" is all they say."""
    house = make_house()
    house.world.register(Saga("nap", sleep("2h"), version=1))
    saga_id = started(house, "nap")

    for page in ("", "/timeline"):
        told = house.http().get(f"/sagas/{saga_id}{page}").json()["waits_for"]
        assert told == "sleep: sleep lets some time pass"
