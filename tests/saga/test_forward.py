"""Going forward: chains, groups, results, the end."""

from __future__ import annotations

from amends.coordinator import arg, chain, group, pivot, result, step
from tests.saga.story import NOON, do, done, tell


def test_a_saga_begins_with_its_first_step():
    story = tell(
        step("reserve", to="inventory", undo="release"), step("charge", to="payments", undo="refund")
    )

    assert story.commands == [do("reserve")]
    assert story.status == "running"


def test_a_chain_goes_one_after_another_to_its_end():
    story = tell(
        step("reserve", to="inventory", undo="release"), step("charge", to="payments", undo="refund")
    )

    assert story.when(reserve=done()).commands == [do("charge")]
    story.when(charge=done())
    assert story.commands == []
    assert story.status == "completed"
    assert story.ended


def test_a_group_goes_side_by_side_and_joins():
    story = tell(group(step("a", to="x", undo="u"), step("b", to="y", undo="u")), step("c", to="z", undo="u"))

    assert story.commands == [do("a"), do("b")]
    assert story.when(b=done()).commands == []
    assert story.when(a=done()).commands == [do("c")]


def test_chains_and_groups_nest():
    story = tell(
        group(
            chain(
                step("a1", to="x", undo="u"),
                group(step("a2", to="x", undo="u"), step("a3", to="x", undo="u")),
            ),
            step("b", to="y", undo="u"),
        ),
        step("c", to="z", undo="u"),
    )

    assert story.commands == [do("a1"), do("b")]
    assert story.when(a1=done()).commands == [do("a2"), do("a3")]
    assert story.when(a3=done(), b=done()).commands == []
    assert story.when(a2=done()).commands == [do("c")]


def test_a_command_carries_what_its_args_refer_to():
    story = tell(
        step(
            "reserve",
            to="inventory",
            undo="release",
            args={"skus": arg.lines, "first": arg["lines"][0], "n": 3},
        ),
        step(
            "charge", to="payments", undo="refund", args=[result("reserve"), result("reserve").ids[-1], "EUR"]
        ),
        input={"lines": ["a", "b"]},
    )

    assert story.sent[0].args == {"skus": ["a", "b"], "first": "a", "n": 3}
    assert story.when(reserve=done({"ids": [7, 8]})).sent[0].args == [{"ids": [7, 8]}, 8, "EUR"]


def test_a_step_without_args_gets_the_whole_input():
    story = tell(step("score", to="fraud", reads=True), input={"total": 5})

    assert story.sent[0].args == {"total": 5}


def test_a_step_sends_the_command_it_names_or_its_own_name():
    story = tell(step("first", to="x", do="charge", undo="refund"), step("score", to="fraud", reads=True))

    assert story.sent[0].command == "charge"
    assert story.when(first=done()).sent[0].command == "score"


def test_a_missing_field_turns_the_saga_back_with_a_clear_cause():
    story = tell(
        step("reserve", to="inventory", undo="release"),
        step("charge", to="payments", undo="refund", args={"id": result("reserve").booking.id}),
    )

    story.when(reserve=done({"booking": {}}))

    assert story.status == "compensating"
    assert "result('reserve').booking has no field 'id'" in story.saga.cause
    assert "charge" in story.saga.cause
    assert story.step("charge").did == "unsent"


def test_a_missing_field_in_a_group_sends_nothing_of_its_later_branches():
    story = tell(
        group(
            step("a", to="x", undo="u"),
            step("b", to="x", undo="u", args=arg.nothing),
            step("c", to="x", undo="u"),
        ),
        input={},
    )

    assert "c" not in story.saga.steps
    assert story.status == "compensating"


def test_a_missing_field_after_the_pivot_makes_the_step_stuck():
    story = tell(
        pivot(step("dispatch", to="shipping")), step("mail", to="mail", args=result("dispatch").track)
    )

    story.when(dispatch=done(None))

    assert story.status == "stuck"
    assert story.stuck == ["mail"]
    assert "result('dispatch').track is not there" in story.step("mail").error


def test_a_missing_field_of_the_pivot_itself_turns_back_for_it_was_never_sent():
    story = tell(step("a", to="x", undo="u"), pivot(step("p", to="x", args=result("a").b)))

    story.when(a=done(None))

    assert story.status == "compensating"
    assert story.saga.pivot == "ahead"


def test_started_twice_is_started_once():
    story = tell(step("a", to="x", undo="u"))
    event, _ = story.log[0]

    story.when(event)

    assert story.changes == 0


def test_the_deadline_is_counted_from_the_start():
    assert tell(step("a", to="x", undo="u"), deadline="15m").saga.deadline == NOON + 15 * 60 * 1000


def test_the_clock_never_goes_back():
    story = tell(step("a", to="x", undo="u"), step("b", to="x", undo="u"))
    story.now -= 60_000

    story.when(a=done())

    assert story.saga.clock == NOON
    assert story.step("b").due == NOON + 30_000
