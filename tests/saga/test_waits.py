"""`wait`, `sleep` and `emit`: signals early, late, twice (S1); time; domain events there and back."""

from __future__ import annotations

import pytest

from amends.coordinator import arg, chain, choose, each, emit, group, item, pivot, result, sleep, step, wait
from amends.coordinator.saga import events
from amends.coordinator.saga.signals import Hearing, hearing
from tests.saga.happenings import signal
from tests.saga.story import HOUR, MINUTE, Story, do, done, internal_error, refused, retry, tell, timer, undo


def waiting(**more: object) -> Story:
    return tell(wait("approved", **more), step("b", to="x", undo="u", args=result("approved")))  # type: ignore[arg-type]


def test_a_signals_payload_is_the_result_of_the_wait():
    story = waiting().when(signal("approved", {"by": "bo"}))

    assert [(send.path, send.args) for send in story.sent] == [("b", {"by": "bo"})]


def test_an_early_signal_is_kept():
    """S1."""
    story = tell(step("a", to="x", undo="u"), wait("approved"), step("b", to="x", undo="u"))
    story.given(signal("approved"))

    assert story.when(a=done()).commands == [do("b")]
    assert story.saga.signals == {}


def test_a_copy_of_a_signal_is_not_taken_by_a_second_wait():
    """S1. Guard: `step.took == event.message_id` in signals._is_copy."""
    story = tell(wait("first", signal="ok"), wait("second", signal="ok"), step("b", to="x", undo="u"))
    story.given(signal("ok", 1, id="m1"))

    assert story.when(signal("ok", 1, id="m1")).changes == 0
    assert story.when(signal("ok", 2, id="m2")).commands == [do("b")]
    assert (story.step("first").result, story.step("second").result) == (1, 2)


def test_signals_are_taken_in_the_order_in_which_they_came():
    story = tell(step("a", to="x", undo="u"), wait("first", signal="ok"), wait("second", signal="ok"))
    story.given(signal("ok", 1, id="m1"), signal("ok", 2, id="m2")).given(a=done())

    assert (story.step("first").result, story.step("second").result) == (1, 2)


def test_each_item_waits_for_a_signal_of_its_own():
    story = tell(each([1, 2], chain(wait("ok"), step("b", to="x", undo="u"))))

    assert story.when(signal("ok/1")).commands == [do("b/1")]
    assert story.when(signal("ok", id="m2")).commands == []
    assert story.when(signal("ok/0", id="m3")).commands == [do("b/0")]


@pytest.mark.parametrize("name", ["ok", "ok/2", "ok/7", "ok/01", "ok/0/0", "plain/0", "inner/0", "inner/1/2"])
def test_a_signal_that_no_wait_can_ever_take_is_not_kept(name: str):
    """Without `_may_come` it is kept until the saga ends, and its sender is told that it was accepted."""
    story = tell(
        step("a", to="x", undo="u"),
        each(arg.lists, chain(wait("ok"), each(item, wait("inner")))),
        wait("plain"),
        input={"lists": [[1], [1, 2]]},
    )

    heard = hearing(story.definition, story.saga, signal(name)(story))

    assert heard is Hearing.UNAWAITED
    assert story.when(signal(name)).changes == 0


@pytest.mark.parametrize("name", ["ok/0", "ok/1", "inner/0/0", "inner/1/1", "plain", "later/99"])
def test_a_signal_that_may_still_be_taken_is_kept(name: str):
    """S1. Of a list that is a result nobody knows the length before it is there."""
    story = tell(
        step("a", to="x", undo="u"),
        each(arg.lists, chain(wait("ok"), each(item, wait("inner")))),
        wait("plain"),
        each(result("a"), wait("later")),
        input={"lists": [[1], [1, 2]]},
    )

    assert hearing(story.definition, story.saga, signal(name)(story)) is Hearing.KEPT


def test_once_the_list_is_there_its_length_is_known():
    story = tell(step("a", to="x", undo="u"), each(result("a"), wait("later"))).given(a=done([1, 2]))

    assert hearing(story.definition, story.saga, signal("later/2")(story)) is Hearing.UNAWAITED
    assert hearing(story.definition, story.saga, signal("later/1")(story)) is Hearing.TAKEN


def test_a_signal_for_which_there_is_no_wait_changes_nothing():
    assert waiting().when(signal("other")).changes == 0


def test_so_many_signals_are_kept_and_no_more(monkeypatch):
    """Guard: `< SIGNALS_MAX` in signals._hearing."""
    monkeypatch.setattr("amends.coordinator.saga.signals.SIGNALS_MAX", 1)
    story = tell(step("a", to="x", undo="u"), wait("ok")).given(signal("ok", id="m1"))

    assert story.when(signal("ok", id="m2")).changes == 0


def test_what_a_wait_takes_at_once_is_not_bounded(monkeypatch):
    """Although as many as can be are kept for others. Guard: TAKEN in signals._hearing."""
    monkeypatch.setattr("amends.coordinator.saga.signals.SIGNALS_MAX", 2)
    story = tell(group(each(list(range(5)), wait("ok")), chain(step("a", to="x", undo="u"), wait("late"))))
    story.given(signal("late", id="k1"), signal("late", id="k2"))

    for number in range(5):
        assert story.when(signal(f"ok/{number}", id=f"m{number}")).changes == 1
        assert story.when(signal(f"ok/{number}", id=f"m{number}")).changes == 0

    assert story.when(a=done()).status == "completed"


def test_one_id_is_one_signal_of_each_name():
    """S1: what tells copies is kept with the wait that took the signal."""
    story = tell(each([1, 2], wait("ok"))).given(signal("ok/0", id="m"))

    assert story.when(signal("ok/1", id="m")).status == "completed"


def test_a_saga_that_compensates_keeps_no_signal():
    story = tell(step("a", to="x", undo="u"), step("b", to="x", undo="u"), wait("ok"))
    story.given(a=done()).given(b=refused())

    assert story.when(signal("ok")).saga.signals == {}


def test_a_wait_that_lasts_too_long_turns_the_saga_back():
    story = tell(step("a", to="x", undo="u"), wait("approved", timeout="2h")).given(a=done())
    assert story.step("approved").due == story.now + 2 * HOUR

    story.when(timer("approved"))

    assert story.commands == [undo("a")]
    assert "no signal 'approved' came within 2h" in story.saga.cause


def test_a_lenient_wait_goes_on_without_a_signal():
    story = tell(
        wait("approved", timeout="2h", on_timeout="continue"),
        choose(
            (result("approved").exists(), step("yes", to="x", undo="u")),
            otherwise=step("no", to="x", undo="u"),
        ),
    )

    assert story.when(timer("approved")).commands == [do("no")]


def test_a_wait_after_the_pivot_needs_an_operator_when_it_lasts_too_long():
    story = tell(pivot(step("p", to="x")), wait("ok"), step("b", to="x")).given(p=done()).given(timer("ok"))
    assert story.status == "stuck"
    assert story.when(signal("ok", 5)).status == "stuck"

    story.when(retry())

    assert story.commands == [do("b")]
    assert story.step("ok").result == 5


def test_a_timer_of_an_earlier_wait_is_not_this_ones():
    """Guard: `step.attempt += 1` in signals.wait_on."""
    story = waiting(timeout="2h").given(internal_error()).given(retry())

    story.now += 3 * HOUR
    assert story.when(events.TimerFired(path="approved", attempt=1)).changes == 0
    assert story.when(timer("approved")).status == "compensated"


def test_a_signal_that_came_while_the_saga_was_stuck_is_taken_when_it_moves():
    """Guard: `take_signal(draft, step)` in signals.wait_on."""
    story = waiting().given(internal_error()).given(signal("approved", 1))
    assert (story.status, story.commands) == ("stuck", [])

    assert story.when(retry()).commands == [do("b")]


def test_a_sleep_that_was_over_while_the_saga_was_stuck_is_over_at_once():
    story = tell(sleep("1h"), step("b", to="x", undo="u")).given(internal_error())
    due = story.step("sleep").due
    assert due is not None
    story.when(events.TimerFired(path="sleep", attempt=1))
    assert story.changes == 0

    story.after(2 * HOUR).given(retry())

    assert story.step("sleep").due == story.now
    assert story.when(timer("sleep")).commands == [do("b")]


def test_a_sleep_lets_time_pass():
    story = tell(sleep("5m"), step("b", to="x", undo="u"))
    assert story.step("sleep").due == story.now + 5 * MINUTE

    assert story.when(timer("sleep")).commands == [do("b")]


def test_what_waits_has_nothing_to_undo():
    story = tell(group(sleep("5m"), wait("ok"), step("b", to="x", undo="u")))

    assert story.when(b=refused()).status == "compensated"


# Events


def test_an_event_is_published_and_the_saga_goes_on_at_once():
    story = tell(
        emit("order.taken", arg.id, undo="order.dropped"), step("b", to="x", undo="u"), input={"id": 7}
    )

    assert story.published == [("order.taken", "order.taken")]
    assert story.commands == [do("b")]


def test_turning_back_publishes_what_takes_it_back_in_its_turn():
    story = tell(
        step("a", to="x", undo="u"),
        emit("taken", arg, undo="dropped"),
        emit("told", undo=None),
        step("b", to="x", undo="u"),
        step("c", to="x", undo="u"),
        input=7,
    ).given(a=done()).given(b=done())  # fmt: skip

    assert story.when(c=refused()).published == []
    story.when(b=done())
    assert story.published == [("taken", "dropped")]
    assert story.commands == [undo("a")]


def test_an_event_whose_data_cannot_be_made_turns_the_saga_back():
    story = tell(step("a", to="x", undo="u"), emit("taken", result("a").id, undo=None)).given(a=done({}))

    assert story.commands == []
    assert "result('a').id is not there" in story.saga.cause


def test_a_thousand_events_after_each_other_are_published_in_one_go():
    """No recursion: a chain is walked in a loop, and so are items that are through at once."""
    story = tell(*(emit("e", undo="f", name=f"e{number}") for number in range(990)))
    assert (len(story.published), story.status) == (990, "completed")

    story = tell(each(arg, emit("e", item, undo="f")), step("b", to="x", undo="u"), input=list(range(3_000)))
    assert len(story.published) == 3_000
    assert len(story.when(b=refused()).published) == 3_000
    assert story.status == "compensated"


def test_a_saga_that_needs_an_operator_publishes_what_its_definition_says():
    story = tell(pivot(step("p", to="x")), step("b", to="x"), on_stuck="order.stuck").given(p=done())

    story.when(b=refused("no"))

    (event,) = [one for one in story.effects if getattr(one, "type", "") == "order.stuck"]
    assert event.data["saga"] == "saga-1"  # type: ignore[union-attr]
    assert "b: refused after the point of no return: no" in event.data["reason"]  # type: ignore[union-attr]
