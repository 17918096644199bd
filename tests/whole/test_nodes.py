"""Every node of the language at work: real engine, PostgreSQL, RabbitMQ, SDK worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amends.coordinator import (
    Saga,
    arg,
    call,
    chain,
    choose,
    each,
    emit,
    group,
    item,
    outer,
    pivot,
    result,
    sleep,
    step,
    wait,
)
from amends.coordinator.saga.leaves import CallNode, EmitNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.nodes import Sketch
from amends.coordinator.saga.tree import ChainNode, ChooseNode, EachNode, GroupNode, PivotNode
from amends.db.engines import transaction
from tests.doors.house import Run
from tests.engine.scheduled import make_due
from tests.engine.subscriber import Subscriber
from tests.waiting import eventually
from tests.whole.covering import covers
from tests.whole.whole import Whole


def put(name: str, note: Any = None, **more: Any) -> Sketch:
    """A step of the shop that is taken back."""
    said: dict[str, Any] = {
        "to": "shop",
        "do": "put",
        "undo": "take",
        "args": {"note": name if note is None else note},
    }
    return step(name, **{**said, **more})


def after(name: str, note: Any = None) -> Sketch:
    """The same behind the pivot, or as the pivot."""
    return step(name, to="shop", do="put", args={"note": name if note is None else note})


@covers(StepNode, ChainNode, PivotNode)
def test_a_chain_goes_through_its_pivot(whole: Whole) -> None:
    saga = Saga("chain", chain(put("a"), pivot(after("b", result("a").note)), after("c")), version=1)

    id_ = whole.start(saga)

    assert whole.ended(id_).status == "completed"
    assert whole.happened(id_) == [("do", "a", "a"), ("do", "b", "a"), ("do", "c", "c")]


@covers(StepNode, ChainNode, PivotNode)
def test_a_refused_pivot_gives_back_what_came_before_it(whole: Whole) -> None:
    saga = Saga("refused", chain(put("a"), put("b"), pivot(after("c", "bad"))), version=1)

    id_ = whole.start(saga)

    assert whole.ended(id_).status == "compensated"
    assert whole.does(id_) == ["do a", "do b", "undo b", "undo a"]


@covers(GroupNode)
@pytest.mark.parametrize(("note", "status"), [("good", "completed"), ("bad", "compensated")])
def test_a_group_joins_or_is_given_back(whole: Whole, note: str, status: str) -> None:
    saga = Saga("group", chain(group(put("a"), put("b"), put("c")), put("d", arg.note)), version=1)

    id_ = whole.start(saga, {"note": note})

    assert whole.ended(id_).status == status
    did = whole.does(id_)
    assert set(did[:3]) == {"do a", "do b", "do c"}
    assert did[3:] == ["do d"] or set(did[3:]) == {"undo a", "undo b", "undo c"}


@covers(EachNode, "at_most", "nested")
@pytest.mark.parametrize(("bad", "status"), [(None, "completed"), (2, "compensated")])
def test_each_in_each_so_many_at_a_time(whole: Whole, bad: int | None, status: str) -> None:
    inner = each(item.lines, put("pick", {"line": item, "of": outer.order}), at_most=1)
    notes = each(arg.orders, put("note", item.note), at_most=1)
    saga = Saga(
        f"nested-{status}", chain(each(arg.orders, inner, at_most=2), notes), version=1, result=result("pick")
    )
    orders = [{"order": n, "lines": [0, 1], "note": "bad" if n == bad else f"n{n}"} for n in range(3)]

    id_ = whole.start(saga, {"orders": orders})

    assert whole.ended(id_).status == status
    did = whole.does(id_)
    picks = {f"{n}/{line}" for n in range(3) for line in range(2)}
    assert {one for one in did if one.startswith("do pick")} == {f"do pick/{pick}" for pick in picks}
    for n in range(3):
        assert did.index(f"do pick/{n}/0") < did.index(f"do pick/{n}/1"), "at most one at a time"
    if bad is None:
        assert [one for one in did if "note" in one] == [f"do note/{n}" for n in range(3)]
        assert [[one["path"] for one in line] for line in whole.world.state(id_).result] == [  # type: ignore[union-attr]
            [f"pick/{n}/{line}" for line in range(2)] for n in range(3)
        ]
    else:
        assert {one for one in did if one.startswith("undo")} == {
            "undo note/0", "undo note/1", *(f"undo pick/{pick}" for pick in picks)
        }  # fmt: skip


@covers(EachNode, "chunk")
def test_each_by_chunks_of_its_list(whole: Whole) -> None:
    saga = Saga(
        "chunks", chain(each(arg, put("put", {"all": item}), chunk=3), put("sum", result("put"))), version=1
    )

    id_ = whole.start(saga, list(range(7)))

    assert whole.ended(id_).status == "completed"
    notes = {path: note for _, path, note in whole.happened(id_)}
    assert [notes[f"put/{n}"] for n in range(3)] == [
        "{'all': [0, 1, 2]}",
        "{'all': [3, 4, 5]}",
        "{'all': [6]}",
    ]


CHOICE = Saga(
    "choice",
    chain(
        put("look"),
        choose(
            ((arg.total > 100) & (result("look").note == "look"), put("review")),
            (arg.coupon.exists() | arg.kind.in_(["gift"]), put("redeem")),
            otherwise=put("note"),
        ),
        put("end", arg.end),
    ),
    version=1,
)


@covers(ChooseNode)
@pytest.mark.parametrize(
    ("input_", "branch"),
    [
        ({"total": 101}, "review"),
        ({"total": 1, "coupon": "x"}, "redeem"),
        ({"kind": "gift"}, "redeem"),
        ({}, "note"),
    ],
)
def test_choose_takes_one_branch_and_gives_back_that_one(
    whole: Whole, input_: dict[str, Any], branch: str
) -> None:
    good, bad = (whole.start(CHOICE, {**input_, "end": end}) for end in ("good", "bad"))

    assert (whole.ended(good).status, whole.ended(bad).status) == ("completed", "compensated")
    assert whole.does(good) == ["do look", f"do {branch}", "do end"]
    assert whole.does(bad) == ["do look", f"do {branch}", f"undo {branch}", "undo look"]


@covers(WaitNode, "signal by HTTP", "signal by command", "signal by client")
def test_signals_come_by_every_door(whole: Whole, amends: Run) -> None:
    """The client's in its own transaction, and before the saga has begun."""
    waits = chain(
        wait("one"), wait("two"), wait("three"), put("a", [result(n).by for n in ("one", "two", "three")])
    )
    url = whole.house.server.url

    id_ = whole.start(Saga("waits", waits, version=1))
    eventually(lambda: whole.world.status(id_), what="the start")
    with transaction(whole.services) as connection:
        whole.client.signal(connection, id_, "three", {"by": "client"})
    assert whole.house.http().post(f"/sagas/{id_}/signals/one", json={"by": "http"}).status_code == 200
    said = amends("sagas", "signal", id_, "two", "--payload", json.dumps({"by": "command"}), url=url)

    assert said.status == 0
    assert whole.ended(id_).status == "completed"
    assert whole.happened(id_) == [("do", "a", "['http', 'command', 'client']")]


@covers(WaitNode)
def test_a_wait_that_is_over_turns_back_or_goes_on(whole: Whole) -> None:
    on = chain(put("a"), wait("never", timeout="50ms", on_timeout="continue"), put("b"))
    back = chain(put("a"), wait("never", timeout="50ms"), put("b"))

    going_on, turned_back = (
        whole.start(Saga("goes-on", on, version=1)),
        whole.start(Saga("back", back, version=1)),
    )

    assert (whole.ended(going_on).status, whole.ended(turned_back).status) == ("completed", "compensated")
    assert whole.does(going_on) == ["do a", "do b"]
    assert whole.does(turned_back) == ["do a", "undo a"]


@covers(SleepNode)
def test_a_sleep_lets_its_time_pass(whole: Whole) -> None:
    """By the database's clock. Guard: the timer of a sleep."""
    id_ = whole.start(Saga("sleeps", chain(put("a"), sleep("300ms", name="nap"), put("b")), version=1))

    assert whole.ended(id_).status == "completed"
    steps = whole.world.state(id_).steps
    assert steps["b"].since - steps["nap"].since >= 300
    assert whole.does(id_) == ["do a", "do b"]


@covers(EmitNode)
def test_an_emit_is_published_and_taken_back(whole: Whole) -> None:
    events = Subscriber(whole.rabbit_url, whole.prefix, "thing.*")
    emits = emit(
        "thing.listed", {"sku": arg.sku, "of": result("a").note}, undo="thing.withdrawn", name="tell"
    )
    saga = Saga("emits", chain(put("a"), emits, put("b", arg.note)), version=1)

    id_ = whole.start(saga, {"sku": "tea", "note": "bad"})

    assert whole.ended(id_).status == "compensated"
    listed, withdrawn = events.wait_for(2)
    events.close()
    assert [(one["type"], one["subject"], one["specversion"]) for one in (listed, withdrawn)] == [
        ("thing.listed", id_, "1.0"), ("thing.withdrawn", id_, "1.0"),
    ]  # fmt: skip
    assert listed["data"] == {"sku": "tea", "of": "a"}


@covers("event by outbox.put")
def test_an_event_that_a_handler_puts_reaches_its_subscribers(whole: Whole) -> None:
    """In the handler's own transaction: with a copy of the command it goes out once."""
    events = Subscriber(whole.rabbit_url, whole.prefix, "shop.*")
    saga = Saga("announces", step("open", to="shop", do="announce", undo=None), version=1)

    assert whole.ended(whole.start(saga)).status == "completed"

    assert events.wait_for(1) == [{"id": "1", "by": "hand"}]
    events.close()


@covers(CallNode)
@pytest.mark.parametrize(("note", "status"), [("good", "completed"), ("bad", "compensated")])
def test_a_child_ends_with_its_parent(whole: Whole, note: str, status: str) -> None:
    whole.world.register(Saga("child", put("box", arg.sku), version=1, result=result("box").note))
    packing = call("child", {"sku": arg.sku}, name="packing")
    parent = chain(put("a"), packing, pivot(after("pay", arg.note)), after("tell", result("packing")))

    id_ = whole.start(Saga("parent", parent, version=1), {"sku": "tea", "note": note})

    assert whole.ended(id_).status == status
    (child,) = whole.house.http().get("/sagas", params={"parent": id_}).json()["sagas"]
    whole.world.wait_for(child["id"], status)
    assert whole.does(child["id"]) == (["do box"] if note == "good" else ["do box", "undo box"])
    if note == "good":
        assert whole.happened(id_)[-1] == ("do", "tell", "tea")


SEATS = Saga(
    "seats",
    chain(put("seat", confirm="keep"), put("money", confirm="keep"), put("last", arg.note, confirm="keep")),
    version=1,
)


@covers(StepNode, "confirm")
def test_what_was_tried_is_confirmed_once_that_is_decided(whole: Whole) -> None:
    """P2: the handlers find the decision stored. Guard: `draft.pivot = Pivot.PASSED` in ending.decide."""
    id_ = whole.start(SEATS, {"note": "good"})

    assert whole.ended(id_).status == "completed"
    did = whole.happened(id_)
    assert [one[:2] for one in did[:3]] == [("do", "seat"), ("do", "money"), ("do", "last")]
    assert sorted(did[3:]) == [("confirm", name, "passed") for name in ("last", "money", "seat")]


@covers(StepNode, "confirm")
def test_what_was_tried_is_cancelled(whole: Whole) -> None:
    id_ = whole.start(SEATS, {"note": "bad"})

    assert whole.ended(id_).status == "compensated"
    assert whole.does(id_) == ["do seat", "do money", "undo money", "undo seat"]


@covers(StepNode, "confirm")
def test_a_confirm_that_is_refused_needs_an_operator(whole: Whole) -> None:
    whole.close_to("refuses", "seat", "confirm")
    id_ = whole.start(Saga("refuses", chain(put("seat", confirm="keep")), version=1))
    assert whole.stuck(id_) == ["seat"]

    whole.reopen("refuses")
    whole.client.acts.retry(id_, "it is open again")

    assert whole.ended(id_).status == "completed"
    assert whole.does(id_) == ["do seat", "confirm seat"]


@covers("schedule")
def test_a_schedule_starts_sagas(whole: Whole) -> None:
    whole.world.register(Saga("nightly", put("a", arg.note), version=1))
    whole.client.schedules.add("each-night", cron="0 3 * * *", saga="nightly", input={"note": "dark"})

    make_due(whole.world, "each-night")
    id_ = eventually(lambda: whole.client.schedules.get("each-night").last_saga, what="a run")

    assert whole.ended(str(id_)).labels["schedule"] == "each-night"
    assert whole.happened(str(id_)) == [("do", "a", "dark")]
    whole.client.schedules.remove("each-night", "done")
