"""Mutants that random runs meet too seldom: for each there is a story that notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.saga import test_calls, test_children, test_confirm, test_waits
from tests.saga.mutants import Mutant, install

TOLD: tuple[tuple[Mutant, Callable[[], None]], ...] = (
    (
        Mutant("S1: a copy of a signal is dropped", "signals", "step.took == event.message_id", "False"),
        test_waits.test_a_copy_of_a_signal_is_not_taken_by_a_second_wait,
    ),
    (
        Mutant(
            "S1: a wait is over only with its own timer", "timers", "step.attempt != event.attempt", "False"
        ),
        test_waits.test_a_timer_of_an_earlier_wait_is_not_this_ones,
    ),
    (
        Mutant("A2: a skipped try is not confirmed", "confirming", "step.did is not Did.DONE:", "False:"),
        test_confirm.test_a_skipped_try_gets_no_confirm,
    ),
    (
        Mutant(
            "K1: reports are of the child that is called now",
            "children",
            "event.child == child_of(draft, step)",
            "True",
        ),
        test_calls.test_a_late_report_of_the_child_before_is_not_this_ones,
    ),
    (
        Mutant("K1: a child that has ended is not called again", "acts", "step.child += 1", "pass"),
        test_calls.test_retrying_a_call_whose_child_has_ended_calls_another,
    ),
    (
        Mutant("K2: a held child ignores its deadline", "timers", "or draft.through or draft.finishing", ""),
        test_children.test_a_held_child_ignores_its_deadline,
    ),
    (
        Mutant(
            "O5: a call too large was never made",
            "machine",
            "(Phase.AWAITING, Phase.WAITING)",
            "(Phase.AWAITING,)",
        ),
        test_calls.test_a_call_that_is_too_large_was_never_made,
    ),
    (
        Mutant(
            "K3: the first decision stands",
            "obeying",
            "case Order.SETTLE if draft.decision is Decision.NONE:",
            "case Order.SETTLE:",
        ),
        test_children.test_a_child_that_compensates_is_not_settled,
    ),
    (
        Mutant(
            "K5: a fenced child asks for its own pivot",
            "obeying",
            "            fence_pivot(draft, cause)",
            "            turn_back(draft, cause)",
        ),
        test_children.test_a_fenced_child_asks_for_its_own_pivot_first,
    ),
    (
        Mutant(
            "A4: a finished parent settles its children",
            "ending",
            "tell_children(draft, Order.SETTLE)",
            "pass",
        ),
        test_calls.test_finishing_a_parent_settles_its_children,
    ),
    (
        Mutant(
            "A4: a finished parent gives its children back",
            "finishing",
            "tell_children(draft, Order.COMPENSATE)",
            "pass",
        ),
        test_calls.test_finishing_a_parent_that_compensates_gives_its_children_back,
    ),
    (
        Mutant(
            "A4: a skipped call gives its child back",
            "acts",
            "        draft.effects.append(tell)",
            "        pass",
        ),
        test_calls.test_skipping_a_call_tells_its_child_to_compensate_and_goes_on,
    ),
    (
        Mutant("A5: a finished child gives everything back", "backward", "draft.finishing = False", "pass"),
        test_children.test_a_finished_child_gives_everything_back_when_its_parent_compensates,
    ),
)


@pytest.mark.parametrize(("mutant", "story"), TOLD, ids=[mutant.rule for mutant, _ in TOLD])
def test_a_machine_with_a_guard_less_fails_its_story(
    mutant: Mutant, story: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    story()
    install(mutant, monkeypatch)

    with pytest.raises((AssertionError, KeyError)):
        story()
