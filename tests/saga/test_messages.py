"""Answers: M1, M2, M3."""

from __future__ import annotations

import pytest

from amends.coordinator import group, pivot, retry, step
from amends.coordinator.saga.state import Op
from tests.saga import story as s
from tests.saga.story import (
    Story,
    do,
    done,
    expired,
    failed,
    never,
    nothing,
    refused,
    tell,
    timer,
    undo,
    unknown,
)


@pytest.fixture
def order() -> Story:
    """Stock is reserved; the charge is under way."""
    return tell(
        step("reserve", to="inventory", undo="release"),
        step("charge", to="payments", undo="refund"),
    ).given(reserve=done())


# M1


def test_m1_done_is_accepted_from_an_older_attempt(order: Story):
    order.given(timer("charge"), timer("charge"))
    assert order.step("charge").attempt == 2

    order.when(charge=done({"id": 1}).of_attempt(1))

    assert order.status == "completed"
    assert order.step("charge").result == {"id": 1}


def test_m1_done_is_accepted_during_the_back_off(order: Story):
    assert order.given(timer("charge")).phase("charge") == "backoff"

    assert order.when(charge=done()).status == "completed"


@pytest.mark.parametrize("answer", [done(), refused(), failed()])
def test_m1_a_reply_of_another_round_changes_nothing(order: Story, answer: s.Answer):
    order.when(charge=answer.of_round(2))

    assert order.changes == 0


@pytest.mark.parametrize("op", [Op.UNDO, Op.FENCE, Op.CONFIRM])
def test_m1_a_reply_to_another_op_changes_nothing(order: Story, op: Op):
    order.when(charge=done().to(op))

    assert order.changes == 0


def test_m1_a_reply_about_a_step_that_never_began_changes_nothing(order: Story):
    reply = order.reply("charge", done())

    fresh = tell(
        step("reserve", to="inventory", undo="release"), step("charge", to="payments", undo="refund")
    )

    assert fresh.when(reply).changes == 0


@pytest.mark.parametrize(
    "answer", [done({"other": 1}), refused(), refused(certain=False), failed(), expired()]
)
def test_m1_what_is_settled_stays_settled(order: Story, answer: s.Answer):
    order.when(reserve=answer)

    assert order.changes == 0
    assert order.commands == []


@pytest.mark.parametrize("answer", [never(), unknown(), nothing()])
def test_m1_an_answer_that_is_none_is_as_silence(order: Story, answer: s.Answer):
    order.when(charge=answer)

    assert order.changes == 0


def test_m1_a_repeated_reply_changes_nothing(order: Story):
    reply = order.reply("charge", refused("declined"))
    order.given(reply)

    order.when(reply, reply)

    assert order.changes == 0
    assert order.commands == []


# M2


def test_m2_a_refusal_is_not_retried_and_turns_back(order: Story):
    order.when(charge=refused("card declined"))

    assert order.commands == [undo("reserve")]
    assert order.status == "compensating"
    assert order.saga.cause == "step 'charge' was refused: card declined"


def test_m2_a_refusal_in_doubt_is_compensated_as_well(order: Story):
    order.when(charge=refused("card declined", certain=False))

    assert order.commands == [undo("charge")]
    assert order.when(charge=done()).commands == [undo("reserve")]


def test_m2_a_refusal_counts_from_any_attempt(order: Story):
    order.given(timer("charge"), timer("charge"))

    order.when(charge=refused().of_attempt(1))

    assert order.status == "compensating"


# M3


def test_m3_a_failure_backs_off_and_is_tried_again(order: Story):
    order.when(charge=failed("deadlock"))
    assert order.phase("charge") == "backoff"
    assert order.commands == []

    order.when(timer("charge"))
    assert order.commands == [do("charge")]
    assert order.sent[0].attempt == 2


def test_m3_a_failure_counts_once(order: Story):
    reply = order.reply("charge", failed())

    order.when(reply, reply, reply)

    assert order.changes == 1
    assert order.step("charge").spent == 1


def test_m3_a_failure_of_an_older_attempt_counts_nothing(order: Story):
    order.given(timer("charge"), timer("charge"))

    order.when(charge=failed().of_attempt(1))

    assert order.changes == 0
    assert order.step("charge").spent == 1


def test_m3_a_failure_after_the_timeout_counts_nothing(order: Story):
    order.given(timer("charge"))

    order.when(charge=failed())

    assert order.changes == 0


def test_m3_an_unspent_failure_counts_nothing_against_the_limit():
    order = tell(step("charge", to="payments", undo="refund", retry=retry(limit=0)))

    for _ in range(20):
        order.when(charge=failed("breaker open", spent=False)).when(timer("charge"))

    assert order.status == "running"
    assert order.step("charge").spent == 0
    assert order.when(charge=failed("boom")).status == "compensating"


def test_m3_unspent_failures_do_not_lengthen_the_pause(order: Story):
    for _ in range(10):
        order.when(charge=failed(spent=False))
        assert order.step("charge").due - order.now <= 1_000
        order.when(timer("charge"))


def test_m3_an_unspent_failure_after_many_spent_ones_pauses_as_after_the_first(order: Story):
    for _ in range(6):
        order.given(charge=failed()).given(timer("charge"))

    order.when(charge=failed(spent=False))

    assert order.step("charge").due - order.now <= 1_000


@pytest.mark.parametrize("spent", [True, False])
def test_m3_retry_after_is_the_least_pause(order: Story, spent: bool):
    order.when(charge=failed(spent=spent, retry_after=45_000))

    assert order.step("charge").due == order.now + 45_000


def test_m3_retry_after_shortens_no_pause(order: Story):
    order.when(charge=failed(retry_after=1))

    assert order.step("charge").due >= order.now + 800


def test_m3_an_absurd_retry_after_is_bounded(order: Story):
    order.when(charge=failed(retry_after=10**15))

    assert order.step("charge").due == order.now + 24 * s.HOUR


def test_m3_a_late_failure_excuses_the_time_its_timer_was_held():
    order = tell(pivot(step("p", to="x")), step("mail", to="mail", retry=retry(within="1h"))).given(p=done())
    order.after(30 * s.HOUR)  # The breaker was open: the timer was re-armed without an event (M6).

    order.when(mail=failed("lock timeout", spent=False))

    assert order.status == "running"
    assert order.phase("mail") == "backoff"


def test_m3_the_limit_is_how_often_it_is_tried_again():
    order = tell(step("charge", to="payments", undo="refund", retry=retry(limit=2)))

    order.given(charge=failed()).given(timer("charge"))
    order.given(charge=failed()).given(timer("charge"))
    assert order.status == "running"
    order.when(charge=failed("still"))

    assert order.status == "compensating"
    assert "still" in order.saga.cause
    assert order.commands == [undo("charge")]


def test_every_closed_attempt_is_told_once(order: Story):
    assert order.when(charge=failed()).closed == [("charge", "failed")]
    assert order.when(timer("charge")).closed == []
    assert order.when(timer("charge")).closed == [("charge", "timeout")]
    assert order.when(charge=done()).closed == []


def test_a_closed_attempt_tells_how_long_it_took(order: Story):
    order.after(250).when(charge=done())

    assert [effect.duration for effect in order.effects if isinstance(effect, s.AttemptClosed)] == [250]


def test_two_branches_that_fail_turn_back_once():
    order = tell(group(step("a", to="x", undo="u"), step("b", to="y", undo="u")))
    order.given(a=refused("first"))

    order.when(b=refused("second").to(Op.DO))

    assert order.saga.cause == "step 'a' was refused: first"
    assert order.step("b").did == "refused"
    assert order.commands == []
