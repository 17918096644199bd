"""A model of the participants of one saga: the barrier's rows (B1 to B3, B5, B6) and what really happened outside.

`Service.answer` obeys one command as a participant would, in one transaction. What it did to the world is in
`effects`, in the order in which it happened, so that the machine's promises can be held against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from amends.coordinator.saga.effects import Send
from amends.coordinator.saga.events import Outcome, Replied
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Op


@dataclass
class DoRow:
    """The `do` row of one step."""

    outcome: str  # done, refused, never, calling
    round: int
    certain: bool = True
    final: bool = False
    result: Json = None

    @property
    def in_doubt(self) -> bool:
        return self.outcome == "calling" or (self.outcome == "refused" and not self.certain)


@dataclass
class Service:
    """One step's participant. `external`: its effect lies outside the database (B5)."""

    rng: Random
    path: str
    external: bool
    effects: list[tuple[str, str]]
    do: DoRow | None = None
    undo: str | None = None  # done, nothing, never
    confirm: str | None = None  # done, never
    happened: bool = False
    voided: bool = False
    healed: bool = False  # no more faults
    forgetful: bool = False  # the saga is older than the barrier's retention (B6)
    refuses_undo: bool = field(init=False)
    refuses_confirm: bool = field(init=False)
    refuses_do: float = field(init=False)
    breaks_off: float = field(init=False)

    def __post_init__(self) -> None:
        self.refuses_undo = self.rng.random() < 0.15
        self.refuses_confirm = self.rng.random() < 0.15
        self.refuses_do = self.rng.choice([0.0, 0.0, 0.1, 0.4])
        self.breaks_off = self.rng.choice([0.2, 0.7]) if self.external else 0.0

    def answer(self, send: Send) -> Replied | None:
        """Obey a command; None if the participant dies before its commit, or before its reply."""
        if not self.healed and self.rng.random() < 0.05:
            return None
        if self.forgetful and self.do is None and self.undo is None:
            return self._reply(send, Outcome.EXPIRED)
        if not self.healed and self.rng.random() < 0.1:
            return self._reply(send, Outcome.FAILED, spent=self.rng.random() < 0.5)
        match send.op:
            case Op.DO:
                reply = self._do(send)
            case Op.UNDO:
                reply = self._undo(send)
            case Op.CONFIRM:
                reply = self._confirm(send)
            case Op.FENCE if send.closes is Op.UNDO:
                reply = self._close_undo(send)
            case Op.FENCE if send.closes is Op.CONFIRM:
                self.confirm = self.confirm or "never"
                reply = self._reply(send, Outcome(self.confirm))
            case _:
                reply = self._fence(send)
        return None if not self.healed and self.rng.random() < 0.05 else reply

    def _do(self, send: Send) -> Replied:
        row = self.do
        if row is not None and row.outcome == "never":
            return self._reply(send, Outcome.REFUSED)
        if self.undo is not None:
            return self._reply(send, Outcome.REFUSED, certain=row is None or not row.in_doubt)
        if row is not None and row.outcome == "done":
            return self._reply(send, Outcome.DONE, result=row.result, ran_in_round=row.round)
        if row is not None and row.outcome == "refused" and (row.final or send.round <= row.round):
            return self._reply(send, Outcome.REFUSED, certain=row.certain)
        return self._run(send, first=row is None or (row.outcome == "refused" and row.certain))

    def _run(self, send: Send, *, first: bool) -> Replied:
        if not self.healed and self.rng.random() < self.breaks_off:
            # The call broke off: it happened or not, and nobody here knows.
            if self.rng.random() < 0.5:
                self._happens()
            self.do = DoRow("calling", send.round)
            return self._reply(send, Outcome.FAILED)
        if self.rng.random() < self.refuses_do and not (first and self.happened):
            certain = first or not self.external
            self.do = DoRow("refused", send.round, certain=certain)
            return self._reply(send, Outcome.REFUSED, certain=certain)
        self._happens()
        result: Json = {} if self.rng.random() < 0.1 else {"x": 1}
        self.do = DoRow("done", send.round, result=result)
        return self._reply(send, Outcome.DONE, result=result)

    def _happens(self) -> None:
        if not self.happened:
            self.happened = True
            self.effects.append(("do", self.path))

    def _undo(self, send: Send) -> Replied:
        if self.undo is not None:
            return self._reply(send, Outcome(self.undo))
        if self.do is None or self.do.outcome == "never":
            self.do = DoRow("never", send.round)
            self.undo = "nothing"
        elif self.do.outcome == "done" or self.do.in_doubt:
            if self.refuses_undo and not self.healed:
                return self._reply(send, Outcome.REFUSED)
            self.undo = "done"
            self.voided = True
            if self.happened:
                self.effects.append(("undo", self.path))
        else:
            self.undo = "nothing"
        return self._reply(send, Outcome(self.undo))

    def _confirm(self, send: Send) -> Replied:
        if self.confirm is None:
            if self.do is None or self.do.outcome != "done" or (self.refuses_confirm and not self.healed):
                return self._reply(send, Outcome.REFUSED)
            self.confirm = "done"
            self.effects.append(("confirm", self.path))
        return self._reply(send, Outcome(self.confirm))

    def _fence(self, send: Send) -> Replied:
        row = self.do
        if row is None:
            row = self.do = DoRow("never", send.round)
        if row.outcome == "calling":
            if send.closes is None:
                return self._reply(send, Outcome.UNKNOWN)
            row = self.do = DoRow("refused", row.round, certain=False)
        row.final = True
        if row.outcome == "refused":
            return self._reply(send, Outcome.REFUSED, certain=row.certain)
        return self._reply(send, Outcome(row.outcome), result=row.result)

    def _close_undo(self, send: Send) -> Replied:
        if self.do is None:
            self.do = DoRow("never", send.round)
        in_doubt = self.do.in_doubt
        if self.undo is None:
            self.undo = "never"
        return self._reply(send, Outcome(self.undo), in_doubt=in_doubt)

    def _reply(
        self,
        send: Send,
        outcome: Outcome,
        *,
        certain: bool = True,
        spent: bool = True,
        result: Json = None,
        in_doubt: bool = False,
        ran_in_round: int | None = None,
    ) -> Replied:
        return Replied(
            path=send.path,
            op=send.op,
            round=send.round,
            attempt=send.attempt,
            outcome=outcome,
            certain=certain,
            spent=spent,
            result=result,
            in_doubt=in_doubt,
            ran_in_round=ran_in_round,
            closes=send.closes,
            reason=outcome.value,
        )
