"""Parents and children: what they say to each other goes through the outbox, and is receipted (K1 to K6, O1).

A saga never touches another saga's row. A call is a start that names its caller; orders and reports are messages of
their own. All go to the coordinators' queue, so any of them takes them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, assert_never

import msgspec

from amends.coordinator.engine import posting
from amends.coordinator.engine.intake import ReportItem, TellItem
from amends.coordinator.saga.effects import Call, Order, Report, ReportOutcome, Tell
from amends.coordinator.saga.events import Called
from amends.coordinator.saga.state import Decision, Parent, Saga
from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import coordinator_queue
from amends.outbox.traces import carrying

if TYPE_CHECKING:
    from amends.coordinator.engine.batch import Outcome
    from amends.coordinator.engine.lives import Advancing, Live
    from amends.coordinator.engine.placeholders import Placeholders

# The coordinators' own outbox has a receipts queue too (O1). No service can have this name: theirs begin with a letter.
OWN_SERVICE: Final = "_coordinator"

_ORDERS: Final[dict[Order, Literal["settle", "compensate", "fence"]]] = {
    Order.SETTLE: "settle",
    Order.COMPENSATE: "compensate",
    Order.FENCE: "fence",
}
_OUTCOMES: Final[dict[ReportOutcome, Literal["done", "refused", "never", "stuck"]]] = {
    ReportOutcome.DONE: "done",
    ReportOutcome.REFUSED: "refused",
    ReportOutcome.NEVER: "never",
    ReportOutcome.STUCK: "stuck",
}

_raw = msgspec.json.Encoder().encode


def call(prefix: str, saga: Saga, wanted: Call, now_ms: int) -> Message:
    """Start a child, or tell a standing one its new round (K1)."""
    body = wire.Start(
        saga=wanted.child,
        name=wanted.saga,
        version=wanted.version,
        input=msgspec.Raw(_raw(wanted.input)),
        labels=dict(saga.labels),
        sent_at=now_ms,
        parent=_caller(wanted.parent),
    )
    return _message(prefix, wire.START, body, wanted.child, saga.trace)


def tell(prefix: str, saga: Saga, wanted: Tell) -> Message:
    """Tell a child what is decided (K2, K3, K5)."""
    body = wire.Tell(saga=wanted.child, order=_ORDERS[wanted.order], parent=_caller(wanted.parent))
    return _message(prefix, wire.TELL, body, wanted.child, saga.trace)


def report(prefix: str, child: str, told: Report, trace: str = "", *, bytes_max: int) -> tuple[Message, str]:
    """Tell a parent what has become of its child, and why not all of it, empty if it is all.

    A result too large for a message is left out, and an operator needed (O5).
    """
    problem = ""
    body = wire.Report(
        saga=told.parent.saga,
        path=told.parent.path,
        round=told.parent.round,
        child=child,
        outcome=_OUTCOMES[told.outcome],
        result=msgspec.Raw(_raw(told.result)),
        reason=told.reason[: wire.REASON_CHARS_MAX],
    )
    size = len(wire.encode(body))
    if size > bytes_max:
        problem = f"it is done, but its result has {size:,} bytes, over the limit of {bytes_max:,}"
        body = msgspec.structs.replace(body, outcome="stuck", result=wire.NULL, reason=problem)
    return _message(prefix, wire.REPORT, body, told.parent.saga, trace), problem


def _caller(parent: Parent) -> wire.Caller:
    return wire.Caller(saga=parent.saga, path=parent.path, round=parent.round, holds=parent.holds)


def _message(prefix: str, type_: str, body: wire.Body, saga_id: str, trace: str) -> Message:
    return Message(
        routing_key=coordinator_queue(prefix),
        type=type_,
        body=wire.encode(body),
        correlation_id=saga_id,
        headers=carrying(trace),
        needs_receipt=True,
    )


class Kin:
    """Takes what parents and children say in one batch."""

    def __init__(self, advancing: Advancing, placeholders: Placeholders, outcome: Outcome) -> None:
        self._advancing = advancing
        self._placeholders = placeholders
        self._outcome = outcome

    def told(self, item: TellItem, live: Live | None) -> Message | None:
        """A parent has decided. Where there is no child yet, it is kept, and answered with the message returned."""
        answer = None
        note = "taken"
        if live is not None:
            self._advancing.apply(live, replace(item.event, held=self._advancing.gate.held()))
        elif item.saga_id in self._placeholders.standing:
            answer = self._early(item)
            note = "kept"
        else:
            note = "pruned"
        self._receipt(item, note)
        return answer

    def reported(self, item: ReportItem, live: Live | None) -> None:
        """A child told what has become of it."""
        if live is not None:
            self._advancing.apply(live, replace(item.event, held=self._advancing.gate.held()))
        self._receipt(item, "taken")

    def called_again(self, live: Live, round_: int) -> None:
        """A standing child was called once more (K1)."""
        self._advancing.apply(live, Called(round=round_, held=self._advancing.gate.held()))

    def silent(self, child: str, parent: Parent, reason: str) -> Message:
        """A child cannot answer its parent, which waits without a time limit: an operator is needed there (K4)."""
        stuck = Report(parent=parent, outcome=ReportOutcome.STUCK, reason=reason)
        return report(self._advancing.prefix, child, stuck, bytes_max=self._advancing.body_bytes_max)[0]

    def _early(self, item: TellItem) -> Message | None:
        """The order came before its child's start, which it decides (K3). A child that will not be is told of (K5)."""
        event = item.event
        match event.order:
            case Order.SETTLE:
                wanted = Decision.SETTLE
            case Order.COMPENSATE | Order.FENCE:
                wanted = Decision.COMPENSATE
            case _:
                assert_never(event.order)
        if self._placeholders.decide(item.saga_id, wanted, event.round) is not Decision.COMPENSATE:
            return None
        never = Report(
            parent=replace(item.parent, round=event.round),
            outcome=ReportOutcome.NEVER,
            reason="it had not begun, and never will",
        )
        limit = self._advancing.body_bytes_max
        return report(self._advancing.prefix, item.saga_id, never, bytes_max=limit)[0]

    def _receipt(self, item: TellItem | ReportItem, note: str) -> None:
        if item.receipt is not None:
            self._outcome.receipts.append(posting.receipt(item.receipt, item.message_id, note))
