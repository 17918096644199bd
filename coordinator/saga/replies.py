"""What a participant's answer means for the step it is about (M1, M2, M3, P1, C1, A1).

An answer counts if it names the step's round and the op that is outstanding; `done` and a refusal do from any
attempt. Everything else is late or repeated, which is ordinary and changes nothing.
"""

from __future__ import annotations

from typing import assert_never

from amends.coordinator.saga.backward import given_back, turn_back
from amends.coordinator.saga.confirming import confirmed
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.ending import end_if_done
from amends.coordinator.saga.events import Outcome, Replied
from amends.coordinator.saga.finishing import finished
from amends.coordinator.saga.forward import succeed
from amends.coordinator.saga.giving_up import give_up, refused
from amends.coordinator.saga.sending import close_attempt, in_vain
from amends.coordinator.saga.state import Did, Op, Phase
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.stuck import give_to_operator


def concerns(step: StepDraft, reply: Replied) -> bool:
    """Whether an answer is about the step as it stands: its round, and something is outstanding (M1)."""
    return reply.round == step.round and step.phase is not Phase.SETTLED


def only_informs(step: StepDraft, reply: Replied) -> bool:
    """Whether an answer only tells what became of a `do` whose undo is under way already."""
    return reply.op is Op.DO and (step.op is Op.UNDO or step.closes is Op.UNDO)


def take(draft: Draft, step: StepDraft, reply: Replied) -> None:
    """Act on an answer that concerns this step."""
    if only_informs(step, reply):
        _inform(step, reply)
    elif reply.op is not step.op or reply.closes is not step.closes:
        _late(draft, step, reply)
    elif reply.outcome is Outcome.FAILED:
        _failed(draft, step, reply)
    else:
        close_attempt(draft, step, reply.outcome.value)
        match step.op:
            case Op.DO:
                _do(draft, step, reply)
            case Op.UNDO:
                _undo(draft, step, reply)
            case Op.FENCE:
                _fence(draft, step, reply)
            case Op.CONFIRM:
                _confirm(draft, step, reply)
            case _:
                assert_never(step.op)


def _inform(step: StepDraft, reply: Replied) -> None:
    if reply.outcome is Outcome.DONE:
        step.did, step.result = Did.DONE, reply.result
    elif reply.outcome is Outcome.REFUSED and step.did is Did.UNKNOWN:
        step.did = Did.REFUSED if reply.certain else Did.IN_DOUBT


def _late(draft: Draft, step: StepDraft, reply: Replied) -> None:
    """An answer to what was asked before the fence that is under way: it counts if it says what the fence would."""
    if step.op is not Op.FENCE or reply.op is not (step.closes or Op.DO):
        return
    certainly_not = {Op.DO: Outcome.REFUSED, Op.UNDO: Outcome.NOTHING}.get(reply.op)
    if reply.outcome is Outcome.DONE or (reply.outcome is certainly_not and reply.certain):
        _fence(draft, step, reply)


def _failed(draft: Draft, step: StepDraft, reply: Replied) -> None:
    """Transient: counts once, for the attempt that is awaited (M3)."""
    if reply.attempt != step.attempt or step.phase is not Phase.AWAITING:
        return
    close_attempt(draft, step, reply.outcome.value)
    if step.due is not None and draft.now > step.due:
        # Its timer was held back: a breaker was open, or the command still unsent. No policy runs then (M4, M6).
        step.since += draft.now - step.due
    if not in_vain(draft, step, reply.reason, spent=reply.spent, retry_after=reply.retry_after):
        give_up(draft, step, f"given up after {step.attempt} attempts: {reply.reason}")


def _do(draft: Draft, step: StepDraft, reply: Replied) -> None:
    match reply.outcome:
        case Outcome.DONE:
            _did(draft, step, reply)
            succeed(draft, step)
        case Outcome.REFUSED:
            refused(draft, step, reply.reason, certain=reply.certain)
        case Outcome.EXPIRED:
            give_to_operator(draft, step, _EXPIRED)
        case Outcome.NEVER | Outcome.UNKNOWN | Outcome.NOTHING | Outcome.FAILED:
            pass  # No answer to a `do`: it is as silence.
        case _:
            assert_never(reply.outcome)


def _undo(draft: Draft, step: StepDraft, reply: Replied) -> None:
    match reply.outcome:
        case Outcome.DONE | Outcome.NOTHING:
            step.error = ""
            _go_on(draft, step)
        case Outcome.REFUSED:
            give_to_operator(draft, step, f"its undo was refused: {reply.reason}")
        case Outcome.EXPIRED:
            give_to_operator(draft, step, _EXPIRED)
        case Outcome.NEVER:
            give_to_operator(draft, step, "its undo was closed by a fence and will never run")
        case Outcome.UNKNOWN | Outcome.FAILED:
            pass  # No answer to an `undo`: it is as silence.
        case _:
            assert_never(reply.outcome)


def _confirm(draft: Draft, step: StepDraft, reply: Replied) -> None:
    match reply.outcome:
        case Outcome.DONE:
            step.error = ""
            _go_on(draft, step)
        case Outcome.REFUSED:
            give_to_operator(draft, step, f"its confirm was refused: {reply.reason}")
        case Outcome.EXPIRED:
            give_to_operator(draft, step, _EXPIRED)
        case Outcome.NEVER:
            give_to_operator(draft, step, "its confirm was closed by a fence and will never run")
        case Outcome.UNKNOWN | Outcome.NOTHING | Outcome.FAILED:
            pass  # No answer to a `confirm`: it is as silence.
        case _:
            assert_never(reply.outcome)


def _fence(draft: Draft, step: StepDraft, reply: Replied) -> None:
    match step.closes:
        case None:
            _pivot_fence(draft, step, reply)
        case Op.DO:
            _closed_do(draft, step, reply)
        case Op.UNDO:
            _closed_undo(draft, step, reply)
        case Op.CONFIRM:
            _closed_confirm(draft, step, reply)
        case Op.FENCE:
            pass  # No fence closes a fence.
        case _:
            assert_never(step.closes)


def _pivot_fence(draft: Draft, step: StepDraft, reply: Replied) -> None:
    """What became of the pivot decides (P1)."""
    match reply.outcome:
        case Outcome.DONE:
            _did(draft, step, reply)
            succeed(draft, step)
        case Outcome.NEVER:
            step.did = Did.NEVER
            turn_back(draft, draft.wants_back)
        case Outcome.REFUSED:
            refused(draft, step, reply.reason, certain=reply.certain)
        case Outcome.EXPIRED:
            give_to_operator(draft, step, _EXPIRED)
        case Outcome.UNKNOWN:
            # A call is under way whose outcome only its own repetition can tell.
            step.op = Op.DO
            if not in_vain(
                draft, step, "its fence could not tell whether it happened", spent=False, retry_after=None
            ):
                give_up(draft, step, "its fence could not tell whether it happened")
        case Outcome.NOTHING | Outcome.FAILED:
            pass  # No answer to a fence: it is as silence.
        case _:
            assert_never(reply.outcome)


def _closed_do(draft: Draft, step: StepDraft, reply: Replied) -> None:
    """A closing fence told what became of the `do` (C1), perhaps for an operator who skips it (A1)."""
    match reply.outcome:
        case Outcome.DONE:
            _did(draft, step, reply)
            step.override = None  # `done` wins over the override.
            _go_on(draft, step)
        case Outcome.NEVER | Outcome.REFUSED if reply.certain:
            if step.override is not None and not draft.backwards:
                _overridden(draft, step, reply, reply.outcome.value)
                return
            step.override = None  # It certainly did not happen: nothing is left to be overridden.
            step.did = Did.NEVER if reply.outcome is Outcome.NEVER else Did.REFUSED
            _go_on(draft, step)
        case Outcome.REFUSED | Outcome.NEVER | Outcome.EXPIRED | Outcome.UNKNOWN:
            found = "expired" if reply.outcome is Outcome.EXPIRED else "in doubt"
            if step.override is not None:
                _overridden(draft, step, reply, found)
                return
            if reply.outcome is Outcome.REFUSED:
                step.did = Did.IN_DOUBT
            give_to_operator(
                draft, step, f"nothing can undo it, and whether it happened is {found}: {reply.reason}"
            )
        case Outcome.NOTHING | Outcome.FAILED:
            pass  # No answer to a fence: it is as silence.
        case _:
            assert_never(reply.outcome)


def _closed_undo(draft: Draft, step: StepDraft, reply: Replied) -> None:
    """A closing fence told what became of the `undo` that an operator skips (A1)."""
    match reply.outcome:
        case Outcome.DONE | Outcome.NOTHING:
            step.override = None  # `done` wins over the override.
            step.error = ""
        case Outcome.NEVER:
            _override(draft, step, "in doubt" if reply.in_doubt else "never")
        case Outcome.EXPIRED:
            _override(draft, step, "expired")
        case Outcome.REFUSED | Outcome.UNKNOWN:
            _override(draft, step, "in doubt")
        case Outcome.FAILED:
            return
        case _:
            assert_never(reply.outcome)
    _go_on(draft, step)


def _closed_confirm(draft: Draft, step: StepDraft, reply: Replied) -> None:
    """A closing fence told what became of the `confirm` that an operator skips (A1)."""
    match reply.outcome:
        case Outcome.DONE:
            step.override = None  # `done` wins over the override.
            step.error = ""
        case Outcome.NEVER:
            _override(draft, step, "never")
        case Outcome.EXPIRED:
            _override(draft, step, "expired")
        case Outcome.REFUSED | Outcome.UNKNOWN:
            _override(draft, step, "in doubt")
        case Outcome.NOTHING | Outcome.FAILED:
            return
        case _:
            assert_never(reply.outcome)
    _go_on(draft, step)


def _overridden(draft: Draft, step: StepDraft, reply: Replied, found: str) -> None:
    """The `do` did not surely happen, and an operator answers for it: does without, or says what came of it (A1)."""
    _override(draft, step, found)
    forces = step.forces
    if forces is not None and forces.get("refuse"):
        certain = reply.outcome in (Outcome.NEVER, Outcome.REFUSED) and reply.certain
        step.did = Did.REFUSED if certain else Did.IN_DOUBT  # In doubt it still gets its undo (A2).
        turn_back(draft, f"{step.name} was refused by an operator")
        return
    step.did = Did.SKIPPED
    if forces is not None:
        step.did, step.result, step.error = Did.FORCED, forces.get("result"), ""
    _go_on(draft, step)


def _did(draft: Draft, step: StepDraft, reply: Replied) -> None:
    step.did, step.result, step.error = Did.DONE, reply.result, ""
    if step.edited is not None and reply.ran_in_round is not None and reply.ran_in_round < step.round:
        # It had run before, with the args that were to be replaced: whoever edited them is told (A3).
        note = f"edit {step.path}: it had already run in round {reply.ran_in_round}, with its old args"
        draft.overrides = (*draft.overrides, note)


def _override(draft: Draft, step: StepDraft, found: str) -> None:
    """The operator's act takes effect: list it, with what the fence found (A1, A6)."""
    draft.overrides = (*draft.overrides, f"{step.override} (found: {found})")


def _go_on(draft: Draft, step: StepDraft) -> None:
    """Its current op is settled: go on with what waits for that."""
    draft.move(step, Phase.SETTLED)
    if draft.finishing:
        finished(draft)
    elif draft.backwards:
        given_back(draft, step.place, step.scope)
    elif step.op is Op.CONFIRM or step.closes is Op.CONFIRM:
        confirmed(draft, step)
        end_if_done(draft)
    else:
        succeed(draft, step)


_EXPIRED = "too long ago for its participant to tell what became of it"
