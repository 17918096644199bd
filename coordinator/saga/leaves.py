"""The leaves of a definition's tree: what a saga does, as against the order it does it in (`tree.py`).

Complete: every default is filled in. Durations in ms. Each has a `name`, unique in its definition: with the numbers
of the items that an `each` around is at, it is the path of an instance, `reserve/3`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from amends.coordinator.saga.expressions import Expression, to_json
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.policies import Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNode:
    """One command to one participant, and how it is undone.

    Before the pivot exactly one is said: `undo` is a command; `undo` is None and `final` (nothing can undo it);
    `reads` (there is nothing to undo). `confirm` is the command that makes it last, once the saga has decided (P2).
    `retry` is for `do`; `undo_retry` for undo, confirm and fences.
    """

    name: str
    to: str
    do: str
    undo: str | None = None
    final: bool = False
    reads: bool = False
    confirm: str | None = None
    args: Expression
    timeout: int
    retry: Retry
    undo_timeout: int
    undo_retry: Retry

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        also: dict[str, Json] = {}
        if self.undo is not None or self.final:
            also["undo"] = self.undo
        if self.reads:
            also["reads"] = True
        if self.confirm is not None:
            also["confirm"] = self.confirm
        return {
            "kind": "step",
            "name": self.name,
            "to": self.to,
            "do": self.do,
            **also,
            "args": to_json(self.args),
            "timeout": self.timeout,
            "retry": self.retry.to_json(),
            "undo_timeout": self.undo_timeout,
            "undo_retry": self.undo_retry.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitNode:
    """Waits for a signal, by its name and the numbers of the items around; the signal's payload is its result.

    `timeout` None waits as long as the saga may take. When it is over: `lenient` goes on without a result, else the
    saga turns back, or after the pivot needs an operator.
    """

    name: str
    signal: str
    timeout: int | None
    lenient: bool = False

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        on_timeout = "continue" if self.lenient else "fail"
        return {
            "kind": "wait",
            "name": self.name,
            "signal": self.signal,
            "timeout": self.timeout,
            "on_timeout": on_timeout,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepNode:
    """Lets some time pass."""

    name: str
    duration: int

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        return {"kind": "sleep", "name": self.name, "duration": self.duration}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitNode:
    """Publishes a domain event of this type. Compensating it publishes one of type `undo` with the same data.

    Before the pivot either `undo` is said, or that there is none (`final`).
    """

    name: str
    type: str
    data: Expression
    undo: str | None = None
    final: bool = False

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        undo: dict[str, Json] = {"undo": self.undo} if self.undo is not None or self.final else {}
        return {"kind": "emit", "name": self.name, "type": self.type, **undo, "data": to_json(self.data)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallNode:
    """A child saga; its result is the child's (rules K). `version` None is the active one when it starts."""

    name: str
    saga: str
    version: int | None
    args: Expression

    def to_json(self) -> dict[str, Json]:
        """The stored form."""
        return {
            "kind": "call",
            "name": self.name,
            "saga": self.saga,
            "version": self.version,
            "args": to_json(self.args),
        }


Leaf: TypeAlias = StepNode | WaitNode | SleepNode | EmitNode | CallNode
LEAVES = (StepNode, WaitNode, SleepNode, EmitNode, CallNode)
