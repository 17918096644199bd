"""Machines with a guard less, to see that something notices: one line of the real source is changed at a time."""

from __future__ import annotations

import pytest

from tests.checking import mutating
from tests.checking.mutating import Mutant

PACKAGE = "amends.coordinator.saga"


def install(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the changed functions of the machine wherever it or these tests use the sound ones, until the test ends."""
    mutating.install(mutant, monkeypatch, package=PACKAGE)


MUTANTS = (
    Mutant(
        "C1: what is unknown is undone",
        "backward",
        "(Did.UNSENT, Did.REFUSED",
        "(Did.UNSENT, Did.UNKNOWN, Did.REFUSED",
    ),
    Mutant(
        "M2: a refusal in doubt is undone",
        "backward",
        "(Did.UNSENT, Did.REFUSED",
        "(Did.UNSENT, Did.IN_DOUBT, Did.REFUSED",
    ),
    Mutant(
        "C1: what nothing can undo is fenced",
        "backward",
        "ask(draft, step, Op.FENCE, closes=Op.DO)\n            return False",
        "return _nothing_to_undo(draft, step)",
    ),
    Mutant(
        "C1: what is in doubt and cannot be undone is stuck",
        "backward",
        "case Did.DONE |",
        "case Did.IN_DOUBT | Did.DONE |",
    ),
    Mutant(
        "C2: chains are undone one by one",
        "backward",
        "place.index - 1):\n                    return",
        "-1):\n                    return",
    ),
    Mutant("C2: chains are undone in reverse", "backward", "        index -= 1", "        index = -1"),
    Mutant("C2: a group is waited for", "backward", "draft.positions[parent.id + scope] > 0", "False"),
    Mutant("P1: given up, a pivot is fenced", "giving_up", "fence_pivot(draft, f", "turn_back(draft, f"),
    Mutant("P1: at the deadline a pivot is fenced", "timers", "fence_pivot(draft, ", "turn_back(draft, "),
    Mutant("P1: compensating now fences the pivot", "acts", "if draft.pivot is not Pivot.SENT:", "if True:"),
    Mutant(
        "P1: a pivot in doubt is stuck",
        "giving_up",
        "case Zone.PIVOT if certain:",
        "case Zone.PIVOT if True:",
    ),
    Mutant(
        "P1: a fence that cannot tell decides nothing",
        "replies",
        "step.op = Op.DO\n",
        "return turn_back(draft, 'x')\n",
    ),
    Mutant("P1: a pivot is sent once its do is logged", "sending", "draft.pivot = Pivot.SENT", "pass"),
    Mutant("P2: a pivot that is done is passed", "forward", "draft.pivot = Pivot.PASSED", "pass"),
    Mutant(
        "A3: nothing is compensated after the pivot",
        "acts",
        "if draft.pivot is Pivot.PASSED:\n",
        "if False:\n",
    ),
    Mutant("M4: the undo is owed once the do is logged", "sending", "step.did = Did.UNKNOWN", "pass"),
    Mutant("C1: no do is sent while compensating", "forward", "if draft.backwards:", "if False:"),
    Mutant("M1: a settled step stays settled", "replies", "step.phase is not Phase.SETTLED", "True"),
    Mutant(
        "M3: a failure counts once",
        "replies",
        "reply.attempt != step.attempt or step.phase",
        "step.phase is None and step.phase",
    ),
    Mutant("C3: a stuck step is told", "stuck", "draft.effects.append(StepStuck", "list().append(StepStuck"),
    Mutant("C3: a saga with nothing else due is stuck", "stuck", "draft.status = Status.STUCK", "pass"),
    Mutant(
        "A1: what is skipped is fenced first",
        "acts",
        "        ask(draft, step, Op.FENCE, closes=closes(step))",
        """
        from amends.coordinator.saga import replies
        step.did = step.did if draft.backwards else replies.Did.SKIPPED
        replies._go_on(draft, step)
        """,
    ),
    Mutant("S1: each item has signals of its own", "doing", "node.signal + step.scope", "node.signal"),
    Mutant("P2: no confirm before the decision", "ending", "    if is_held(draft):", "    if False:"),
    Mutant("P2: a saga is over when all is confirmed", "ending", "draft.positions.get(CONFIRMING)", "False"),
    Mutant(
        "P2: a pivot that is passed confirms", "forward", "        begin_confirming(draft)", "        pass"
    ),
    Mutant(
        "P2: without a pivot success is the decision",
        "ending",
        "        draft.pivot = Pivot.PASSED\n        begin_confirming(draft)",
        "        pass",
    ),
    Mutant("P2: after the decision nothing turns back", "ending", "        draft.pivot = Pivot.PASSED\n", ""),
    Mutant("A1: a confirm is closed, not its do", "finishing", "if step.op is Op.FENCE else step.op", ""),
    Mutant("K2: a decided parent settles its children", "confirming", "draft.effects.append(order)", "pass"),
    Mutant(
        "K2: a child compensates with its parent",
        "backward",
        "    ask(draft, step, Op.UNDO)\n    return False\n\n\ndef _nothing",
        "    return _nothing_to_undo(draft, step)\n\n\ndef _nothing",
    ),
    Mutant(
        "K3: a decision before the start decides it",
        "machine",
        "if draft.decision is Decision.COMPENSATE:",
        "if False:",
    ),
    Mutant("P1: a call is sent once it is made", "doing", "draft.pivot = Pivot.SENT", "pass"),
    Mutant("C1: a call is owed a compensation once it is made", "doing", "step.did = Did.UNKNOWN", "pass"),
    Mutant(
        "each: at most so many forwards",
        "fans",
        "fan.next < fan.total and len(fan.open) < _at_most(each)",
        "fan.next < fan.total",
    ),
    Mutant(
        "each: at most so many backwards",
        "fans",
        "fan.next > 0 and len(fan.open) < _at_most(each)",
        "fan.next > 0",
    ),
    Mutant("each: what was under way is given back once", "fans", "skip=fan.open", "skip=()"),
    Mutant(
        "each: what is under way is given back at once",
        "fans",
        "    for number in fan.open:",
        "    for number in ():",
    ),
    Mutant(
        "each: it is through when all items are",
        "fans",
        "return not fan.open and fan.next == fan.total",
        "return fan.next == fan.total",
    ),
    Mutant(
        "each: it is given back when all items are",
        "fans",
        "return not fan.open and fan.next == 0",
        "return fan.next == 0",
    ),
    Mutant(
        "each: items of an inner each are made out again",
        "fans",
        "if fan is not None or not scope:",
        "if True:",
    ),
    Mutant(
        "each: chains in items that are through are undone",
        "backward",
        "return not scope or _chain_back",
        "return _chain_back if False else True or _chain_back",
    ),
    Mutant(
        "choose: a branch in an item that is through is undone",
        "confirming",
        "return choose.children if scope else ()",
        "return ()",
    ),
    Mutant(
        "choose: the first branch that holds is taken",
        "forward",
        "            return index",
        "            pass",
    ),
)
