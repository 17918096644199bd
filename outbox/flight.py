"""The messages one publisher has on the wire: which are unsettled, since when, and what became of the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from amends.outbox import wire
from amends.outbox.cargo import Cargo, Landed
from amends.outbox.message import Message
from amends.outbox.observer import Miss, OutboxObserver, Way
from amends.outbox.ports import Fate, Outgoing, Publisher
from amends.outbox.tracing import switch

log = logging.getLogger(__name__)

_MISSES: Final[dict[Fate, Miss]] = {
    Fate.RETURNED: "returned",
    Fate.NACKED: "nacked",
    Fate.UNROUTABLE: "unroutable",
    Fate.TOO_LARGE: "too_large",
}


@dataclass(slots=True)
class _Aloft:
    cargo: Cargo
    since: float


class Flight:
    """A window of at most `window` unsettled messages. Owned by the publisher's thread.

    A message that is not settled within `confirm_s` is overdue.
    """

    def __init__(
        self,
        publisher: Publisher,
        observer: OutboxObserver,
        way: Way,
        *,
        window: int,
        confirm_s: float,
        receipts_to: str | None = None,
    ) -> None:
        self._publisher = publisher
        self._observer = observer
        self._way: Final = way
        self._window = window
        self._confirm_s = confirm_s
        self._receipts_to = receipts_to
        self._aloft: dict[int, _Aloft] = {}
        self._next_token = 1
        self._warned = False

    @property
    def room(self) -> int:
        """How many more messages may be launched."""
        return max(0, self._window - len(self._aloft))

    @property
    def unsettled(self) -> int:
        """How many messages are waited for."""
        return len(self._aloft)

    def launch(self, cargos: Sequence[Cargo]) -> None:
        """Publish. Raises: BrokerUnavailable; then `abandon`, these cargos are part of it."""
        now = time.monotonic()
        outgoing = []
        for cargo in cargos:
            token = self._next_token
            self._next_token += 1
            self._aloft[token] = _Aloft(cargo, now)
            outgoing.append(Outgoing(token, self.addressed(cargo)))
        self._publisher.publish(outgoing)
        self._observer.published(self._way, len(outgoing))

    def land(self, timeout_s: float) -> list[Landed]:
        """What was settled; waits up to `timeout_s` for the first. Raises: BrokerUnavailable; then `abandon`."""
        landed: list[Landed] = []
        latencies: list[float] = []
        for settled in self._publisher.settled(timeout_s):
            aloft = self._aloft.pop(settled.token, None)
            if aloft is None:
                continue  # Of a flight that was abandoned.
            landed.append(Landed(aloft.cargo, settled.fate, settled.reason))
            if switch.tracing is not None:
                problem = "" if settled.fate is Fate.CONFIRMED else _MISSES[settled.fate]
                switch.tracing.sent(aloft.cargo.message, aloft.since, problem)
            if settled.fate is Fate.CONFIRMED:
                latencies.append(settled.confirm_s)
            else:
                self.observe(landed[-1])
        if latencies:
            self._observer.confirmed(self._way, latencies)
        return landed

    def observe(self, landed: Landed) -> None:
        """Tell the observer of one message, settled here or elsewhere."""
        if landed.fate is Fate.CONFIRMED:
            self._observer.confirmed(self._way, ())
        else:
            self._observer.unconfirmed(self._way, _MISSES[landed.fate], 1)

    def overdue(self) -> list[Message]:
        """The messages that should have been settled by now."""
        limit = time.monotonic() - self._confirm_s
        late = []
        for aloft in self._aloft.values():
            if aloft.since > limit:
                break  # They were launched in this order.
            late.append(aloft.cargo.message)
        return late

    def abandon(self, miss: Miss = "lost") -> list[Cargo]:
        """Forget everything on the wire; what was still waited for."""
        lost = [aloft.cargo for aloft in self._aloft.values()]
        if switch.tracing is not None:
            for aloft in self._aloft.values():
                switch.tracing.sent(aloft.cargo.message, aloft.since, miss)
        self._aloft.clear()
        if lost:
            self._observer.unconfirmed(self._way, miss, len(lost))
        return lost

    def addressed(self, cargo: Cargo) -> Message:
        """The message, saying which row it comes from and who wants its receipt, where that matters (O1, O6)."""
        row, message = cargo.row, cargo.message
        if row is None or not (message.needs_receipt or message.key is not None):
            return message
        headers = {**message.headers, wire.HEADER_ROW: str(row.id)}
        if message.needs_receipt and self._receipts_to is not None:
            headers[wire.HEADER_RECEIPT_TO] = self._receipts_to
        elif message.needs_receipt and not self._warned:
            self._warned = True
            log.warning(
                "receipts_go_nowhere", extra={"type": message.type, "mend": "give the relay its service"}
            )
        return replace(message, headers=headers)
