"""What must hold of every saga once it has ended: what its participants did, held against what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Publish
from amends.coordinator.saga.leaves import EmitNode, StepNode, WaitNode
from amends.coordinator.saga.state import Did, Op, Pivot, Saga, Status, Step
from amends.coordinator.saga.walk import Place
from amends.coordinator.simulating.expecting import expected_paths
from amends.coordinator.simulating.promises import is_overridden


class Lived(Protocol):
    """A saga that has ended, and what it published. `finished`: an operator ended it as it was."""

    definition: Definition
    saga: Saga
    published: list[Publish]
    finished: bool


class Happened(NamedTuple):
    """What the participants of one saga did, and where, in that order; and their barrier's `do` rows, by path."""

    effects: Sequence[tuple[str, str]]
    rows: Mapping[str, str]


def promise_at_the_end(life: Lived, happened: Happened) -> None:
    """Invariants 2 to 5 and 9 of one saga, its events, its signals, and that nothing was left out."""
    _promise_all_there(life)
    for path in sorted({path for _, path in happened.effects}):
        _promise_in_order(happened, path)
    for path, step in life.saga.steps.items():
        place = life.definition.plan.by_id[step.node]
        if isinstance(place.node, StepNode):
            _promise_effects(life, happened, place, step)
        elif isinstance(place.node, EmitNode):
            _promise_published(life, place.node, path, step)
    _promise_signals(life)


def _promise_all_there(life: Lived) -> None:
    saga = life.saga
    expected = expected_paths(life.definition, saga.input)
    begun = {path for path, step in saga.steps.items() if "@" not in step.path}
    assert begun <= expected, f"steps that nobody asked for: {begun - expected}"
    if saga.status is Status.COMPLETED and not life.finished and not any("@" in path for path in saga.steps):
        assert begun == expected, f"2: completed without {expected - begun}"


def _promise_in_order(happened: Happened, path: str) -> None:
    """4, 5: one forward effect, then one compensation or one confirm, never both."""
    order = [what for what, where in happened.effects if where == path]
    assert order in (["do"], ["do", "undo"], ["do", "confirm"]), f"4, 5: {path}: {order}"


def _promise_effects(life: Lived, happened: Happened, place: Place, step: Step) -> None:
    node, saga = place.step, life.saga
    if life.finished or is_overridden(step):
        return
    counts = Counter(what for what, where in happened.effects if where == step.path)
    does, undoes, confirms = counts["do"], counts["undo"], counts["confirm"]
    if saga.status is Status.COMPLETED:
        assert step.did is Did.DONE, f"2: completed, but {step.path} is {step.did}"
        wanted = (1, 0, node.confirm is not None)
        assert (does, undoes, confirms) == wanted, f"2: completed, but {step.path} has {counts}"
        return
    assert confirms == 0, f"P2: compensated, but {step.path} was confirmed"
    if node.undo is not None:
        assert (does, undoes) in ((0, 0), (1, 1)), f"3, 9: compensated, but {step.path} has {counts}"
    elif life.definition.plan.pivot is place:
        assert does == 0, f"8: compensated, though the pivot {step.path} happened"
    elif not node.reads and step.did is not Did.UNSENT:
        _promise_known(happened, step, does)


def _promise_known(happened: Happened, step: Step, forward: int) -> None:
    """Of a step that nothing can undo the saga knows for certain whether it happened (C1)."""
    assert step.did in (Did.DONE, Did.REFUSED, Did.NEVER), f"C1: {step.path} is left {step.did}"
    assert forward == (step.did is Did.DONE), f"C1: {step.path} is {step.did}, but happened {forward} times"
    row = happened.rows.get(step.path)  # The barrier forgets in time (B6).
    assert row is None or (row == "done") is (step.did is Did.DONE)


def _promise_published(life: Lived, node: EmitNode, path: str, step: Step) -> None:
    told = [one.op for one in life.published if one.path == path]
    if step.did is not Did.DONE:
        assert told == [], f"{path} is {step.did}, but was published: {told}"
    elif life.saga.status is Status.COMPENSATED and node.undo is not None and not life.finished:
        assert told == [Op.DO, Op.UNDO], f"3: {path} was published, and taken back: {told}"
    else:
        assert told == [Op.DO] or life.finished, f"{path} was published: {told}"


def _promise_signals(life: Lived) -> None:
    """S1: no signal is taken twice, and none by a wait for another."""
    taken: Counter[str] = Counter()
    for path, step in life.saga.steps.items():
        node = life.definition.plan.by_id[step.node].node
        if isinstance(node, WaitNode) and isinstance(step.result, dict) and "signal" in step.result:
            signal = str(step.result["signal"])
            taken[signal] += 1
            _, slash, numbers = path.partition("/")
            assert signal.startswith(f"{node.signal}{slash}{numbers}:"), f"S1: {path} took {signal}"
    assert all(count == 1 for count in taken.values()), f"S1: taken twice: {taken}"


def promise_of_children(life: Lived, child: Lived) -> None:
    """Parent and child come to the same end, unless an operator answers for one of them (K2 to K4)."""
    parent = child.saga.parent
    assert parent is not None
    step = life.saga.steps[parent.path]
    if life.finished or is_overridden(step) or any(f" {step.path} " in one for one in life.saga.overrides):
        return
    if life.saga.status is Status.COMPENSATED:
        assert child.saga.status is not Status.COMPLETED, (
            f"3: compensated, but its child {child.saga.id} stands"
        )
        assert child.saga.pivot is not Pivot.PASSED or child.saga.status is Status.COMPENSATED
