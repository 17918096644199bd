"""Edit, force, finish as is: what operators say against what a saga knows (A1 to A6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from amends.coordinator import call, group, pivot, result, sleep, step, wait
from amends.coordinator import retry as policy
from amends.coordinator.saga import events
from amends.coordinator.saga.effects import ReportOutcome
from tests.saga.happenings import edit, finish, force, reports, signal
from tests.saga.story import (
    Answer,
    Story,
    compensate,
    deadline,
    do,
    done,
    expired,
    failed,
    fence,
    internal_error,
    never,
    refused,
    retry,
    skip,
    tell,
    timer,
    undo,
    unknown,
)
from tests.saga.stuck_stories import refusal, running, stuck_before, stuck_forward, stuck_undo

# Edit (A3)


def test_a_stuck_step_is_asked_again_with_the_new_args_in_a_new_round():
    story = stuck_forward().when(edit("mail", {"to": "bo"}))

    (send,) = story.sent
    assert (send.path, send.args, send.round) == ("mail", {"to": "bo"}, 2)
    assert "edit mail by ann: because" in story.saga.overrides
    assert story.when(mail=done()).commands == [do("tell")]


def test_a_step_that_backs_off_is_edited_too_and_later_attempts_keep_the_args():
    story = running().given(b=failed())

    assert story.when(edit("b", 5)).sent[0].args == 5
    story.given(b=failed())
    assert story.when(timer("b")).sent[0].args == 5


def test_an_old_attempt_that_answers_late_changes_nothing_and_the_new_one_tells_what_happened():
    """M1, A3. Guard: `reply.ran_in_round < step.round` in replies._did."""
    story = running().given(b=failed()).given(edit("b", 5))

    assert story.when(b=done().of_round(1)).changes == 0

    story.when(replace_reply(story, ran_in_round=1))
    assert story.status == "completed"
    assert "edit b: it had already run in round 1, with its old args" in story.saga.overrides


def test_that_it_ran_before_is_told_also_when_the_reply_was_recorded():
    """Guard: `"ran_in_round": news.ran_in_round` in recording._to_json."""
    story = running().given(b=failed()).given(edit("b", 5)).given(internal_error())
    story.given(replace_reply(story, ran_in_round=1))

    story.when(retry())

    assert "edit b: it had already run in round 1, with its old args" in story.saga.overrides


def replace_reply(story: Story, *, ran_in_round: int) -> events.Event:
    reply = story.reply("b", done())
    assert isinstance(reply, events.Replied)
    return replace(reply, ran_in_round=ran_in_round)


def test_args_that_could_not_be_made_are_given_by_an_operator():
    story = tell(pivot(step("p", to="x")), step("mail", to="x", args=result("p").id)).given(p=done({}))
    assert story.status == "stuck"

    assert story.when(edit("mail", {"id": 1})).sent[0].args == {"id": 1}


@pytest.mark.parametrize(
    ("story", "path", "why"),
    [
        (running(), "a", "is settled"),
        (running(), "c", "no step 'c' has begun"),
        (stuck_undo(), "a", "only the args of a command's `do` can be edited"),
        (tell(sleep("1h")), "sleep", "only the args of a command's `do` can be edited"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(story: Story, path: str, why: str):
    assert why in refusal(story, edit(path, 5))


def test_an_edit_that_meets_an_answer_is_refused():
    """A3: what was recorded takes effect first."""
    story = tell(pivot(step("p", to="x")), group(step("a", to="x"), step("b", to="x"))).given(p=done())
    story.given(a=expired(), b=expired()).given(a=done())

    assert "has been answered meanwhile" in refusal(story, edit("a", 5))


# Force (A1, A2)


def test_a_forced_result_takes_effect_once_the_fence_found_nothing():
    story = stuck_before().when(force("b", {"x": 1}))
    assert story.commands == [fence("b", "do")]

    story.when(b=never())

    assert story.status == "completed"
    assert story.step("b").result == {"x": 1}
    assert story.saga.overrides == ("force b by ann: because (found: never)",)


def test_what_really_happened_wins_over_a_forced_result():
    story = stuck_before().given(force("b", {"x": 1})).when(b=done({"x": 2}))

    assert story.step("b").result == {"x": 2}
    assert story.saga.overrides == ()


def test_a_forced_refusal_turns_the_saga_back():
    story = stuck_before().given(force("b", refuse=True)).when(b=never())

    assert story.commands == [undo("a")]
    assert story.step("b").did == "refused"


@pytest.mark.parametrize("answer", [refused(certain=False), unknown(), expired()])
def test_a_refusal_forced_in_doubt_is_undone_all_the_same(answer: Answer):
    """A2. Guard: `Did.REFUSED if certain else Did.IN_DOUBT` in replies._overridden."""
    story = stuck_before().given(force("b", refuse=True)).when(b=answer)

    assert story.commands == [undo("b")]


def test_a_forced_step_still_gets_its_undo():
    story = tell(step("a", to="x", undo="u"), step("b", to="x", undo="u"), step("c", to="x", undo="u"))
    story.given(a=done()).given(b=expired()).given(force("b", 1)).given(b=never())

    assert story.when(c=refused()).commands == [undo("b")]


def pivot_in_doubt() -> Story:
    story = tell(step("a", to="x", undo="u"), pivot(step("p", to="x"))).given(a=done())
    return story.given(p=refused(certain=False))


def test_a_skip_after_a_forced_refusal_forces_nothing():
    """Guard: `step.forces = None` in acts.skip, without which no operator could ever end it."""
    story = pivot_in_doubt().given(force("p", refuse=True)).given(p=refused(certain=False))
    assert (story.status, story.phase("p")) == ("stuck", "stuck")

    story.given(skip("p")).when(p=refused(certain=False))

    assert story.commands == [undo("a")]


def test_a_pivot_that_happened_after_all_is_passed_whatever_was_forced():
    story = pivot_in_doubt().given(force("p", refuse=True)).when(p=done())

    assert story.status == "completed"


@pytest.mark.parametrize("story", [stuck_undo(), stuck_forward()])
def test_a_refusal_that_would_decide_nothing_is_refused(story: Story):
    path = story.saga.stuck_steps[0].path

    assert "would decide nothing" in refusal(story, force(path, refuse=True))


def test_only_what_is_stuck_in_a_stuck_saga_is_forced():
    assert "is awaiting, not stuck" in refusal(running(), force("b"))


def test_a_wait_is_forced_at_once():
    story = tell(pivot(step("p", to="x")), wait("ok"), step("b", to="x", args=result("ok")))
    story.given(p=done()).given(timer("ok"))

    story.when(force("ok", 5))

    assert [(send.path, send.args) for send in story.sent] == [("b", 5)]
    assert story.saga.overrides == ("force ok by ann: because",)


# Finish as is (A1, A4)


def several() -> Story:
    """Past the pivot: something stuck, something parked, something waiting, something backing off."""
    story = tell(
        pivot(step("p", to="x")),
        group(
            step("a", to="x"),
            step("b", to="y"),
            step("c", to="z", timeout="1h"),
            wait("ok"),
            sleep("1d"),
            call("child"),
        ),
        step("after", to="x"),
    )
    story.holding("y.do").given(p=done()).holding()
    return story.given(a=refused()).given(c=failed(retry_after=3_600_000)).given(internal_error())


def test_finishing_closes_what_is_outstanding_and_lets_the_rest_be():
    story = several().when(finish())

    assert story.commands == [fence("a", "do"), fence("c", "do")]
    nothing_found = [one.split("(")[1].split(":")[0] for one in story.saga.overrides]
    assert nothing_found == ["b", "child", "ok", "sleep"]
    assert story.orders == []


def test_a_saga_that_went_forward_is_completed_once_the_fences_have_answered():
    """A4."""
    story = several().given(finish()).given(a=never())
    assert story.status == "running"

    story.when(c=done())

    assert story.status == "completed"
    assert story.orders == [("child", "settle")]
    assert "after" not in story.saga.steps
    assert "finish by ann: because (found: never)" in story.saga.overrides


def test_a_saga_that_went_back_is_compensated():
    story = stuck_undo().when(finish())
    assert story.commands == [fence("a", "undo")]

    assert story.when(a=never()).status == "compensated"


def test_a_finish_whose_fence_is_given_up_needs_an_operator_again():
    story = tell(pivot(step("p", to="x")), step("b", to="x", undo_retry=policy(limit=0))).given(p=done())
    story.given(b=refused()).given(finish()).given(b=failed())
    assert story.status == "stuck"

    assert story.when(finish()).commands == [fence("b", "do")]
    assert story.when(b=never()).status == "completed"


def test_the_deadline_does_not_turn_back_what_is_being_finished():
    """Guard: `draft.finishing` in timers.deadline_reached."""
    story = stuck_before().given(finish())

    assert story.when(deadline()).changes == 0
    assert story.when(b=never()).status == "completed"


def test_compensating_what_is_being_finished_gives_everything_back():
    """Guard: `draft.finishing = False` in backward.turn_back."""
    story = tell(step("a", to="x", undo="u"), step("b", to="x", undo="u")).given(a=done()).given(b=expired())
    story.given(finish()).given(compensate())

    assert story.when(b=done()).commands == [undo("a")]


def test_a_finished_saga_has_the_result_that_can_be_had():
    story = tell(
        step("a", to="x", undo="u"), step("b", to="x", undo="u"), result=result("a")
    ).given(a=done(7)).given(b=expired()).given(finish())  # fmt: skip

    assert story.when(b=never()).saga.result == 7


def test_a_saga_that_is_stuck_for_an_internal_error_is_finished_whatever_was_recorded():
    """Guard: `draft.backwards is was_backwards` in acts.finish_as_is."""
    story = running().given(internal_error()).given(b=done())

    assert story.when(finish()).status == "completed"


def test_what_was_recorded_may_have_turned_the_saga_back_before_it_could_be_finished():
    story = tell(group(step("a", to="x", undo="u"), step("b", to="x", undo="u"))).given(a=expired())
    story.given(internal_error()).given(b=refused())

    story.when(finish())

    assert story.status == "compensating"
    assert story.commands == [undo("a")]


def test_only_a_stuck_saga_is_finished():
    assert "not stuck" in refusal(running(), finish())


def test_a_signal_or_report_that_comes_after_the_finish_changes_nothing():
    story = several().given(finish()).given(a=never())

    assert story.when(reports_late(story)).changes == 0
    story.when(signal("ok"))
    assert story.commands == []


def reports_late(story: Story) -> events.Event:
    event = reports("child", ReportOutcome.DONE)
    assert callable(event)
    return event(story)


def test_after_the_end_every_act_is_refused():
    story = tell(step("a", to="x", undo="u")).given(a=done())

    for act in (finish(), force("a"), edit("a", 1), retry(), skip("a"), compensate()):
        assert "the saga has ended" in refusal(story, act)
