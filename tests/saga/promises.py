"""What must hold of every saga, by the numbers of the invariants: checked after every event, and at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Effect, Ended, Send, StepStuck
from amends.coordinator.saga.leaves import LEAVES, StepNode
from amends.coordinator.saga.state import Did, Op, Phase, Pivot, Saga, Status
from amends.coordinator.saga.tree import ChainNode, Node, children_of
from tests.saga.barrier_model import Service
from tests.saga.story import check


def dependencies(definition: Definition) -> dict[str, frozenset[str]]:
    """Per step, the steps that come before it."""
    before: dict[str, frozenset[str]] = {}
    _depend(definition.root, frozenset(), before)
    return before


def _depend(node: Node, earlier: frozenset[str], before: dict[str, frozenset[str]]) -> frozenset[str]:
    if isinstance(node, LEAVES):
        before[node.name] = earlier
        return frozenset({node.name})
    below: frozenset[str] = frozenset()
    for child in children_of(node):
        below |= _depend(child, earlier | below if isinstance(node, ChainNode) else earlier, before)
    return below


def promise_each_event(
    definition: Definition,
    before: Mapping[str, frozenset[str]],
    was: Saga,
    saga: Saga,
    effects: Iterable[Effect],
) -> None:
    """The order of commands, and what a state may look like."""
    check(definition, saga)
    known = {path: step for path, step in saga.steps.items() if step.phase is Phase.STUCK}
    for effect in effects:
        if isinstance(effect, Send):
            _promise_order(definition, before, was, saga, effect)
        elif isinstance(effect, StepStuck) and effect.path:
            known.pop(effect.path, None)
    pivot = definition.plan.pivot
    if saga.backwards and not was.backwards and pivot is not None and pivot.name in saga.steps:
        did = saga.steps[pivot.name].did
        assert did in (Did.UNSENT, Did.NEVER, Did.REFUSED), f"P1: turned back while its pivot is {did}"
    told_before = {path for path, step in was.steps.items() if step.phase is Phase.STUCK}
    assert known.keys() <= told_before, f"15: stuck, but not told: {known.keys() - told_before}"
    ends = [effect for effect in effects if isinstance(effect, Ended)]
    assert len(ends) == saga.status.ended, f"1: {saga.status}, but told {ends}"


def _promise_order(
    definition: Definition, before: Mapping[str, frozenset[str]], was: Saga, saga: Saga, send: Send
) -> None:
    if send.op is Op.DO:
        assert not was.backwards, f"C1: a do of {send.path} while compensating"
        for path in before[send.path]:
            assert saga.steps[path].did in (Did.DONE, Did.SKIPPED, Did.UNKNOWN), f"{send.path} before {path}"
            assert saga.backwards or saga.steps[path].phase is Phase.SETTLED, f"{send.path} before {path}"
        return
    if not saga.backwards:
        return
    assert saga.pivot is not Pivot.PASSED, f"8: {send.op} of {send.path} after the pivot was passed"
    for path, step in saga.steps.items():
        if send.path in before[path]:
            assert step.phase is Phase.SETTLED, (
                f"7: {send.op} of {send.path} before {path}, which is {step.phase}"
            )


def promise_at_the_end(
    definition: Definition, saga: Saga, services: Mapping[str, Service], effects: list[tuple[str, str]]
) -> None:
    """What the participants did, held against what the saga says."""
    pivot = definition.plan.pivot
    for place in definition.plan.by_name.values():
        if not isinstance(place.node, StepNode):
            continue
        node = place.node
        step = saga.steps.get(node.name)
        counts = [effects.count((what, node.name)) for what in ("do", "undo")]
        overridden = step is not None and (step.override is not None or step.did is Did.SKIPPED)
        if counts[1]:
            order = [what for what, path in effects if path == node.name]
            assert order == ["do", "undo"], f"4, 5: {node.name}: {order}"
        if overridden:
            continue
        if saga.status is Status.COMPLETED:
            assert step is not None, f"2: completed, but {node.name} never began"
            assert step.did is Did.DONE, f"2: completed, but {node.name} is {step.did}"
            assert counts == [1, 0], f"2: completed, but {node.name} has {counts}"
        if saga.status is Status.COMPENSATED:
            if node.undo is not None:
                assert counts in ([0, 0], [1, 1]), f"3, 9: compensated, but {node.name} has {counts}"
            elif pivot is not None and node is pivot.node:
                assert counts == [0, 0], f"8: compensated, though the pivot {node.name} happened"
            elif not node.reads and step is not None and step.did is not Did.UNSENT:
                _promise_known(node, step.did, services[node.name], counts[0])


def _promise_known(node: StepNode, did: Did, service: Service, forward: int) -> None:
    """Of a step that nothing can undo the saga knows for certain whether it happened (C1)."""
    assert did in (Did.DONE, Did.REFUSED, Did.NEVER), f"C1: {node.name} is left {did}"
    assert forward == (did is Did.DONE), f"C1: {node.name} is {did}, but happened {forward} times"
    assert (service.do is not None and service.do.outcome == "done") is (did is Did.DONE)
