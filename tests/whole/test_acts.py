"""Every act of an operator at work, by every door: real engine, PostgreSQL, RabbitMQ, SDK worker (rules A)."""

from __future__ import annotations

from amends.coordinator import Saga, arg, chain, pivot, result, sleep, wait
from amends.coordinator.saga.events import (
    CancelTimer,
    Compensate,
    Edit,
    Finish,
    Force,
    MoveTimer,
    Retry,
    Skip,
)
from tests.doors.house import Run
from tests.whole.covering import covers
from tests.whole.test_nodes import after, put
from tests.whole.whole import Whole


@covers(Retry)
def test_retry_goes_on_after_the_pivot(whole: Whole) -> None:
    """By the client. The worker's barrier runs a refused command again in its new round (B1, A3)."""
    whole.close_to("retried", "b")
    id_ = whole.start(Saga("retried", chain(put("a"), pivot(after("p")), after("b")), version=1))
    assert whole.stuck(id_) == ["b"]

    whole.reopen("retried")
    assert whole.client.acts.retry(id_, "it is open again", step="b") == "running"

    assert whole.ended(id_).status == "completed"
    assert whole.does(id_) == ["do a", "do p", "do b"]


@covers(Retry)
def test_retry_goes_on_with_a_refused_undo(whole: Whole, amends: Run) -> None:
    """By command, on many."""
    whole.close_to("unretried", "a", "undo")
    saga = Saga("unretried", chain(put("a"), put("b", "bad")), version=1)
    ids = [whole.start(saga) for _ in range(2)]
    for id_ in ids:
        assert whole.stuck(id_) == ["a"]

    whole.reopen("unretried")
    said = amends(
        "sagas", "retry", "--status", "stuck", "--saga", "unretried", "--reason", "open again",
        url=whole.house.server.url,
    )  # fmt: skip

    assert said.status == 0, said.err
    for id_ in ids:
        assert whole.ended(id_).status == "compensated"
        assert whole.does(id_) == ["do a", "undo a"]


@covers(Edit)
def test_edit_gives_a_step_other_args(whole: Whole) -> None:
    """By HTTP."""
    saga = Saga(
        "edited", chain(pivot(after("p")), after("b", arg.note), after("c", result("b").note)), version=1
    )
    id_ = whole.start(saga, {"note": "bad"})
    assert whole.stuck(id_) == ["b"]

    edit = {"path": "b", "args": {"note": "better"}, "reason": "a slip of the pen"}
    assert whole.house.http().post(f"/sagas/{id_}/edit", json=edit).status_code == 200

    assert whole.ended(id_).status == "completed"
    assert whole.happened(id_) == [("do", "p", "p"), ("do", "b", "better"), ("do", "c", "better")]
    assert "edit b by" in whole.world.state(id_).overrides[0]


@covers(Skip)
def test_skip_does_without_a_step_once_it_certainly_never_happens(whole: Whole, amends: Run) -> None:
    """By command. The closing fence finds the barrier's refusal (A1, B3)."""
    whole.close_to("skipped", "b")
    id_ = whole.start(Saga("skipped", chain(pivot(after("p")), after("b"), after("c")), version=1))
    assert whole.stuck(id_) == ["b"]

    url = whole.house.server.url
    said = amends("sagas", "skip", id_, "--step", "b", "--reason", "not needed", url=url)

    assert said.status == 0, said.err
    assert whole.ended(id_).status == "completed"
    assert whole.does(id_) == ["do p", "do c"]
    assert "(found: refused)" in whole.world.state(id_).overrides[0]


@covers(Skip)
def test_a_skipped_undo_lets_the_rest_be_given_back(whole: Whole) -> None:
    """By the client."""
    whole.close_to("half", "b", "undo")
    id_ = whole.start(Saga("half", chain(put("a"), put("b"), put("c", "bad")), version=1))
    assert whole.stuck(id_) == ["b"]

    whole.client.acts.skip(id_, "b", "it stays")

    assert whole.ended(id_).status == "compensated"
    assert whole.does(id_) == ["do a", "do b", "undo a"]


@covers(Force)
def test_force_gives_a_step_its_result(whole: Whole) -> None:
    """By the client."""
    whole.close_to("forced", "b")
    steps = chain(pivot(after("p")), after("b"), after("c", result("b").note))
    id_ = whole.start(Saga("forced", steps, version=1))
    assert whole.stuck(id_) == ["b"]

    whole.client.acts.force(id_, "b", "done by hand", result={"note": "by hand"})

    assert whole.ended(id_).status == "completed"
    assert whole.happened(id_)[1:] == [("do", "c", "by hand")]


@covers(Compensate)
def test_compensate_gives_back_what_has_happened(whole: Whole) -> None:
    """By HTTP, while it waits for a signal."""
    id_ = whole.start(Saga("called-off", chain(put("a"), put("b"), wait("go"), put("c")), version=1))
    whole.wait_for(id_, "do b")
    whole.begun(id_, "go")

    answer = whole.house.http().post(f"/sagas/{id_}/compensate", json={"reason": "the customer has gone"})

    assert answer.status_code == 200
    assert whole.ended(id_).status == "compensated"
    assert whole.does(id_) == ["do a", "do b", "undo b", "undo a"]


@covers(Finish)
def test_finish_leaves_everything_as_it_is(whole: Whole, amends: Run) -> None:
    """By command: going back it ends compensated, with what could not be undone listed (A4)."""
    whole.close_to("finished", "b", "undo")
    id_ = whole.start(Saga("finished", chain(put("a"), put("b"), put("c", "bad")), version=1))
    assert whole.stuck(id_) == ["b"]

    said = amends("sagas", "finish", id_, "--reason", "enough", url=whole.house.server.url)

    assert said.status == 0, said.err
    assert whole.ended(id_).status == "compensated"
    assert whole.does(id_) == ["do a", "do b"]
    assert any("finish" in one for one in whole.world.state(id_).overrides)


@covers(MoveTimer)
def test_a_timer_that_is_moved_fires_then(whole: Whole, amends: Run) -> None:
    """By command: a sleep of a day ends now."""
    id_ = whole.start(Saga("moved", chain(put("a"), sleep("20h", name="night"), put("b")), version=1))
    whole.begun(id_, "night")

    said = amends(
        "timers", "move", id_, "night", "--in", "0s", "--reason", "morning",
        url=whole.house.server.url,
    )  # fmt: skip

    assert said.status == 0, said.err
    assert whole.ended(id_).status == "completed"
    assert whole.does(id_) == ["do a", "do b"]


@covers(CancelTimer)
def test_what_is_waited_for_is_put_off_as_far_as_it_goes(whole: Whole) -> None:
    """By HTTP: of a wait for a signal, and of the deadline."""
    saga = Saga("patient", chain(put("a"), wait("go", timeout="1h")), version=1, deadline="2h")
    id_ = whole.start(saga)
    whole.begun(id_, "go")
    before = whole.world.state(id_)

    for fields in ({"path": "go"}, {}):
        answer = whole.house.http().post(f"/sagas/{id_}/timers/cancel", json={**fields, "reason": "no hurry"})
        assert answer.status_code == 200, answer.text

    state, a_day = whole.world.state(id_), 86_400_000
    assert (state.steps["go"].due or 0) > (before.steps["go"].due or 0) + a_day
    assert (state.deadline or 0) > (before.deadline or 0) + a_day
    whole.client.signal_http(id_, "go")
    assert whole.ended(id_).status == "completed"
