"""The participants: a barrier by the book (B1 to B3), and what really happened. What they would like, the test says."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import msgspec

from amends.outbox import wire

Instance = tuple[str, str]  # saga, path


@dataclass(frozen=True)
class Sent:
    """A command as it came out of the broker."""

    participant: str
    command: wire.Command


@dataclass
class Rows:
    """The barrier's rows of one step."""

    do: str = ""  # done, refused, never
    round: int = 0
    final: bool = False
    undo: str = ""  # done, nothing, never
    confirm: str = ""  # done, never


@dataclass
class Desk:
    """Obeys commands. `effects` is what happened, by step, in its order."""

    rows: defaultdict[Instance, Rows] = field(default_factory=lambda: defaultdict(Rows))
    effects: defaultdict[Instance, list[str]] = field(default_factory=lambda: defaultdict(list))

    def obey(self, sent: Sent, wish: str) -> wire.Reply:
        """Answer a command; what was decided before stands, else it is as wished: done, refused, failed, unspent."""
        command = sent.command
        if wish in ("failed", "unspent"):
            return answer(sent, "failed", reason="not now", spent=wish == "failed")
        rows = self.rows[command.saga, command.path]
        match command.op:
            case wire.Op.DO:
                return answer(sent, self._do(command, rows, wish), result={"n": 1})
            case wire.Op.UNDO:
                return answer(sent, self._undo(command, rows, wish))
            case wire.Op.CONFIRM:
                return answer(sent, self._confirm(command, rows, wish))
            case wire.Op.FENCE:
                return self._fence(sent, rows)

    def _do(self, command: wire.Command, rows: Rows, wish: str) -> str:
        if rows.undo or rows.do == "never":
            return "refused"
        if rows.do == "refused" and (rows.final or command.round <= rows.round):
            return "refused"
        if rows.do != "done":
            rows.do, rows.round = wish, command.round
            if wish == "done":
                self._happens(command, "do")
        return rows.do

    def _undo(self, command: wire.Command, rows: Rows, wish: str) -> str:
        if not rows.undo:
            if rows.do == "done" and wish == "refused":
                return "refused"
            if rows.do == "done":
                self._happens(command, "undo")
            rows.undo = "done" if rows.do == "done" else "nothing"
            rows.do = rows.do or "never"
        return rows.undo

    def _confirm(self, command: wire.Command, rows: Rows, wish: str) -> str:
        if not rows.confirm:
            if rows.do != "done" or wish == "refused":
                return "refused"
            rows.confirm = "done"
            self._happens(command, "confirm")
        return rows.confirm

    def _fence(self, sent: Sent, rows: Rows) -> wire.Reply:
        rows.do = rows.do or "never"
        rows.final = True
        if sent.command.closes is wire.Op.UNDO:
            rows.undo = rows.undo or "never"
            return answer(sent, rows.undo)
        if sent.command.closes is wire.Op.CONFIRM:
            rows.confirm = rows.confirm or "never"
            return answer(sent, rows.confirm)
        return answer(sent, rows.do, result={"n": 1})

    def _happens(self, command: wire.Command, what: str) -> None:
        self.effects[command.saga, command.path].append(what)


def answer(sent: Sent, outcome: str, result: object = None, **fields: object) -> wire.Reply:
    """The reply to a command."""
    command = sent.command
    return wire.Reply(
        saga=command.saga,
        path=command.path,
        op=command.op,
        round=command.round,
        attempt=command.attempt,
        outcome=wire.Outcome(outcome),
        participant=sent.participant,
        result=msgspec.Raw(msgspec.json.encode(result)),
        closes=command.closes,
        **fields,  # type: ignore[arg-type]
    )
