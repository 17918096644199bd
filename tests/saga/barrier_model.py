"""The participants of one explored saga: the barrier's rows, and what really happened outside (B1 to B3, B5, B6).

`Service.answer` obeys one command as a participant would, in one transaction; the rules are those that checker and
simulator obey (`checking/barrier.py`). What it did to the world is in `effects`, in the order in which it happened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from amends.coordinator.checking.barrier import Row, answer, give_up, intend, is_first, ran, stands
from amends.coordinator.saga.effects import Send
from amends.coordinator.saga.events import Outcome, Replied
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Op


@dataclass
class Service:
    """One step's participant. `external`: its effect lies outside the database (B5)."""

    rng: Random
    path: str
    external: bool
    effects: list[tuple[str, str]]
    row: Row = field(default_factory=Row)
    happened: bool = False
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
        if self.forgetful and self.row == Row():
            return answer(send, Outcome.EXPIRED)
        if not self.healed and self.rng.random() < 0.1:
            return answer(send, Outcome.FAILED, spent=self.rng.random() < 0.5)
        stood = stands(self.row, send)
        self.row, reply = stood if stood is not None else self._handled(send)
        return None if not self.healed and self.rng.random() < 0.05 else reply

    def _handled(self, send: Send) -> tuple[Row, Replied]:
        match send.op:
            case Op.DO:
                return self._do(send)
            case Op.UNDO:
                refuse = self.refuses_undo and not self.healed
                if self.happened and not refuse:
                    self.effects.append(("undo", self.path))
            case _:
                refuse = self.refuses_confirm and not self.healed
                if not refuse:
                    self.effects.append(("confirm", self.path))
        return ran(self.row, send, refuse=refuse)

    def _do(self, send: Send) -> tuple[Row, Replied]:
        if not self.healed and self.rng.random() < self.breaks_off:
            # The call broke off: it happened or not, and nobody here knows.
            if self.rng.random() < 0.5:
                self._happens()
            lapsed = give_up(intend(self.row, send, call=1, until=1), call=1)
            return lapsed, answer(send, Outcome.FAILED)
        refuse = self.rng.random() < self.refuses_do and not (is_first(self.row) and self.happened)
        if not refuse:
            self._happens()
        result: Json = {} if self.rng.random() < 0.1 else {"x": 1}
        return ran(self.row, send, refuse=refuse, result=result)

    def _happens(self) -> None:
        if not self.happened:
            self.happened = True
            self.effects.append(("do", self.path))
