"""Many steps that wait alike are one thing to read: `o/0 ... o/899 (900)`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from amends.coordinator.records import StepRow
from amends.coordinator.why.causes import Cause, Wait

# What is said of these differs from step to step, and an operator is to read each difference.
_EACH_ITS_OWN = frozenset({Cause.STUCK, Cause.PARKED_ROW})


def grouped(waits: Iterable[Wait], steps: Iterable[StepRow]) -> list[Wait]:
    """One wait for all steps of one place, one queue and one cause, where there are several; in order of the first."""
    by_path = {step.path: step for step in steps}
    groups: dict[tuple[str, ...], list[Wait]] = {}
    for wait in waits:
        step = by_path.get(wait.path)
        own = wait.text.replace(wait.path, "") if wait.cause in _EACH_ITS_OWN else ""
        place = (step.node, step.queue) if step is not None else (wait.path, "")
        groups.setdefault((wait.cause, *place, own), []).append(wait)
    return [_one(group) for group in groups.values()]


def _one(group: Sequence[Wait]) -> Wait:
    if len(group) == 1:
        return group[0]
    alike = sorted(group, key=lambda wait: _place(wait.path))
    first = alike[0]
    return replace(
        first,
        since=min((wait.since for wait in alike if wait.since is not None), default=None),
        next_at=min((wait.next_at for wait in alike if wait.next_at is not None), default=None),
        # A retry without a step asks for all of them.
        acts=tuple(_for_all(act, first.path) for act in first.acts),
        count=len(alike),
        last=alike[-1].path,
    )


def _for_all(act: str, path: str) -> str:
    return act.replace(f" --step {path}", "") if act.startswith("amends sagas retry ") else act


def _place(path: str) -> list[tuple[int, int | str]]:
    """Items in the order of their numbers: `o/2` before `o/10`."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in path.split("/")]
