"""Machines with a guard less, to see that something notices: one line of the real source is changed at a time."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

PACKAGE = "amends.coordinator.saga"


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `module`, `guard` becomes `gap`: the rule that is broken by it."""

    rule: str
    module: str
    guard: str
    gap: str


def install(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the changed functions wherever the sound ones are used, until the test ends."""
    module = importlib.import_module(f"{PACKAGE}.{mutant.module}")
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert source.count(mutant.guard) == 1, f"{mutant.module}.py no longer has exactly one {mutant.guard!r}"
    changed: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(source.replace(mutant.guard, mutant.gap), module.__file__, "exec"), changed)
    swaps = {value: changed[name] for name, value in _functions(module).items()}
    users = [one for name, one in sorted(sys.modules.items()) if name.startswith((PACKAGE, "tests.saga"))]
    for user in users:
        for name, value in _functions(user, everything=True).items():
            if value in swaps:
                monkeypatch.setattr(user, name, swaps[value])


def _functions(module: ModuleType, *, everything: bool = False) -> dict[str, FunctionType]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and (everything or value.__module__ == module.__name__)
    }


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
)
