"""What this coordinator wrote last, kept at hand: a saga that nobody else moved meanwhile need not be read again.

An entry may be used only under its row's lock, and only while the row says what it said when the entry was made:
`Kept.is_of`. So any number of coordinators may work on the same sagas (E3). It is made after a commit that is known,
and dropped when a transaction that touched it fails. Only the decider's thread comes here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from amends.coordinator.engine.rows import Birth
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Phase, Saga, Step
from amends.coordinator.saga.walk import Plan, numbers, outer_scope, scope_of

SAGA_BYTES: Final = 2_000
STEP_BYTES: Final = 800
_VALUE_BYTES: Final = 60


@dataclass(frozen=True, slots=True)
class Kept:
    """A saga as its rows hold it, with the steps that its next events will most likely touch."""

    definition: Definition
    saga: Saga
    birth: Birth
    bytes: int

    def is_of(self, row: Sequence[Any]) -> bool:
        """Whether nobody has written this saga since; `row` is of LOCK_HEADS."""
        _, _, status, seq, clock, deadline, started, _ = row
        saga = self.saga
        return bool(
            (seq, clock, status, deadline, started)
            == (saga.seq, saga.clock, saga.status.value, saga.deadline, saga.started)
        )


class Shelf:
    """Sagas under way, the least recently used leave first. `bytes_max` bounds a rough estimate of their memory."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, saga_id: str) -> Kept | None:
        """The entry, to be compared with the locked row."""
        return self._kept.get(saga_id)

    def put(self, definition: Definition, saga: Saga, birth: Birth) -> None:
        """A saga as it was committed. One that has ended, or is too large, leaves instead."""
        self.drop([saga.id])
        if saga.status.ended:
            return
        likely = _likely(definition.plan, saga) if definition.plan.fans_out else saga
        size = SAGA_BYTES + 4 * birth.input_bytes + sum(_bytes_of(step) for step in likely.steps.values())
        if size > self._bytes_max // 4:
            return
        self._kept[saga.id] = Kept(definition, likely, birth, size)
        self.bytes += size
        while self.bytes > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= oldest.bytes

    def drop(self, saga_ids: Iterable[str]) -> None:
        """Forget these."""
        for saga_id in saga_ids:
            kept = self._kept.pop(saga_id, None)
            if kept is not None:
                self.bytes -= kept.bytes


def _likely(plan: Plan, saga: Saga) -> Saga:
    """Without the steps of items that are through or given back: there may be ten thousand of them."""
    steps = {path: step for path, step in saga.steps.items() if _is_likely(plan, saga, step)}
    # Of a saga that is all here, all that is unsettled is here as well.
    return replace(
        saga, steps=steps, partial=True, has_open=saga.has_open or not saga.partial, absent=frozenset()
    )


def _is_likely(plan: Plan, saga: Saga, step: Step) -> bool:
    if step.phase is not Phase.SETTLED:
        return True
    scope = scope_of(step.path)
    for depth, (each, number) in enumerate(zip(plan.by_id[step.node].eaches, numbers(scope), strict=True)):
        fan = saga.fans.get(each.id + outer_scope(scope, depth))
        if fan is None or number not in fan.open:
            return False
    return True


def _bytes_of(step: Step) -> int:
    return STEP_BYTES + (0 if step.result is None else _rough(step.result))


def _rough(value: Json) -> int:
    """How much memory a value takes, roughly."""
    size, todo = 0, [value]
    while todo:
        one = todo.pop()
        size += _VALUE_BYTES
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, dict):
            size += _VALUE_BYTES * len(one)
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
    return size
