"""What the rules of starts and signals say must come of each (S1 to S3): the model beside the engine."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from amends.coordinator.engine.contract import SignalVerdict, Verdict
from amends.coordinator.saga.state import Saga
from tests.stateful.sagas import VERSIONS, fits, waits_for


@dataclass(frozen=True)
class Wanted:
    """A start: what somebody asked for. `message` is its message id, None for a door's."""

    id: str
    name: str
    variant: int
    version: int | None = None
    message: str | None = None


@dataclass
class Row:
    """A saga that stands, or a start that was rejected, by the message that brought it."""

    name: str
    variant: int | None  # None: a call's, whose input its parent made
    rejected: str | None = None


@dataclass
class Book:
    """`rows` stand now, `spent` were pruned; `heard` are signals by name and id, `kept` those for nobody yet."""

    rows: dict[str, Row] = field(default_factory=dict)
    spent: set[str] = field(default_factory=set)
    heard: defaultdict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    kept: defaultdict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    suspended: set[str] = field(default_factory=set)
    active: dict[str, int] = field(default_factory=dict)
    refused: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def start(self, wanted: Wanted) -> Verdict:
        """What must come of a start, now; and note it."""
        row = self.rows.get(wanted.id)
        examined = self._examined(wanted)
        if row is not None and row.rejected is None:
            same = (row.name, row.variant) == (wanted.name, wanted.variant)
            return Verdict.DUPLICATE if same else Verdict.CONFLICT
        if row is not None and wanted.message in self.refused[wanted.id]:
            return Verdict.REJECTED
        if examined is Verdict.REJECTED and wanted.message is not None:
            if wanted.id in self.spent:
                return Verdict.SPENT
            self.rows[wanted.id] = Row(wanted.name, wanted.variant, wanted.message)
            self.refused[wanted.id].add(wanted.message)
            return Verdict.REJECTED
        if examined is not Verdict.ACCEPTED:
            return examined
        if wanted.id in self.spent:
            return Verdict.SPENT
        self.accepted(wanted.id, wanted.name, wanted.variant)
        return Verdict.ACCEPTED

    def accepted(self, id_: str, name: str, variant: int | None) -> None:
        """It stands from now on, and has heard what came early."""
        self.rows[id_] = Row(name, variant)
        early = self.kept.pop(id_, set())
        self.heard[id_] = {one for one in early if waits_for(name, one[0])}

    def _examined(self, wanted: Wanted) -> Verdict:
        if wanted.name in self.suspended:
            return Verdict.SUSPENDED
        if (wanted.version or self.active[wanted.name]) not in VERSIONS[wanted.name]:
            return Verdict.UNKNOWN_DEFINITION
        return Verdict.ACCEPTED if fits(wanted.name, wanted.variant) else Verdict.REJECTED

    def signal(self, id_: str, signal: str, message: str, stored: Saga | None) -> set[SignalVerdict]:
        """What may come of a signal to a saga that is stored so by now."""
        row = self.rows.get(id_)
        if row is None and id_ in self.spent:
            return {SignalVerdict.PRUNED}
        if row is None or row.rejected is not None:
            return {SignalVerdict.DUPLICATE if (signal, message) in self.kept[id_] else SignalVerdict.KEPT}
        ended = stored is not None and stored.status.ended
        late = {SignalVerdict.ENDED} if stored is None or ended or stored.backwards else set()
        if not waits_for(row.name, signal):
            return {SignalVerdict.UNKNOWN_SIGNAL, *late}
        came = SignalVerdict.DUPLICATE if (signal, message) in self.heard[id_] else SignalVerdict.ACCEPTED
        return {came, *late}

    def signalled(self, id_: str, signal: str, message: str, verdict: SignalVerdict) -> None:
        """Note what came of it."""
        if verdict is SignalVerdict.KEPT:
            self.kept[id_].add((signal, message))
        elif verdict is SignalVerdict.ACCEPTED:
            self.heard[id_].add((signal, message))
