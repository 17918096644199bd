"""One message from its delivery to what became of it: heard of once, in the transaction of the handler.

Its barrier row says that it was (B1): a copy that comes later finds it. A handler that raises leaves no trace but a
copy of the message, which waits in the outbox and comes again; so what fails never stands in the way of what does not.

Returning means that the message is dealt with, durably: acknowledge it. StoreUnavailable and CommitUnknown mean that
it goes back, and the barrier decides when it comes again (O3).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec
from sqlalchemy import Connection

from amends.db.errors import StoreUnavailable
from amends.outbox.message import Message
from amends.outbox.ports import Delivery
from amends.outbox.sender import Sender
from amends.outbox.traces import parted, trace_of
from amends.outbox.tracing import switch
from amends.outbox.wire import Command, Op, Outcome
from amends.participants.barrier.answers import NULL, Answer, failed
from amends.participants.barrier.barrier import Barrier
from amends.participants.barrier.judge import Run
from amends.participants.barrier.store import Expired, Vanished
from amends.participants.errors import HandlerEndedTransaction, InvalidPayload, ParticipantError, Refused
from amends.participants.events.arrivals import HEADER_TRIES, HEADER_WAITS, Arrival, count_in
from amends.participants.events.copies import again, dead
from amends.participants.logging import CommandScope, command_scope
from amends.participants.metrics import ParticipantMetrics
from amends.participants.participant import Handler
from amends.participants.worker.calling import Caller
from amends.participants.worker.faults import (
    HandlerRaised,
    is_conflict,
    is_expected,
    is_idle_timeout,
    transient,
)
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.transactions import Transactions, Unwritten
from amends.participants.worker.workspaces import HeldWorkspace

log = logging.getLogger(__name__)

# A message that came back so often may be what kills the worker: it is put off, so that others get their turn.
SUSPECT_AFTER: Final = 3
_TRIES: Final = 4
_RETRY_S: Final = 0.02

Became: TypeAlias = Literal["done", "refused", "repeated", "retried", "dead_lettered", "passed_over"]


class Unfit(ParticipantError):
    """The payload is not of the type that the handler declares: trying again would not help."""


class Taking:
    """Takes the messages of one handler. Thread-safe; each thread brings its own Caller."""

    def __init__(
        self,
        handler: Handler | None,
        *,
        participant: str,
        prefix: str,
        attempts: int,
        barrier: Barrier,
        transactions: Transactions,
        sender: Sender,
        guard: TransactionGuard,
        metrics: ParticipantMetrics,
    ) -> None:
        """Without a handler it only puts off and buries."""
        self._subscriber = "unknown" if handler is None else handler.name
        self._handler = handler
        self._participant = participant
        self._prefix = prefix
        self._attempts = attempts
        self._barrier = barrier
        self._transactions = transactions
        self._sender = sender
        self._guard = guard
        self._metrics = metrics

    def take(self, delivery: Delivery, arrival: Arrival, caller: Caller) -> None:
        """Let the handler hear of it, unless it has. Raises: StoreUnavailable, CommitUnknown."""
        if delivery.delivery_count >= SUSPECT_AFTER:
            count = delivery.delivery_count
            self.put_off(delivery, arrival, f"delivered {count} times: it may be what kills the worker")
            return
        if switch.tracing is None:
            self._take(delivery, arrival, caller, trace_of(delivery.headers))
            return
        work = switch.tracing.work(delivery, **{"amends.participant": self._participant, "amends.op": "on"})
        try:
            with work.current():
                self._take(delivery, arrival, caller, work.trace)
        finally:
            work.end()

    def _take(self, delivery: Delivery, arrival: Arrival, caller: Caller, trace: str) -> None:
        tries = count_in(delivery, HEADER_TRIES)
        scope = CommandScope(str(arrival.key), arrival.path, "on", tries + 1, *parted(trace))
        with command_scope(scope):
            try:
                answer = self._settled(delivery, arrival, caller)
            except Expired:
                self.bury(delivery, arrival, "expired: older than what the barrier remembers (B6)")
                return
            except Unfit as unfit:
                self.bury(delivery, arrival, f"invalid_data: {unfit}")
                return
            self._conclude(delivery, arrival, answer)

    def put_off(
        self,
        delivery: Delivery,
        arrival: Arrival,
        reason: str,
        *,
        spent: bool = True,
        after_s: float | None = None,
    ) -> None:
        """Let it come again later, or, where its attempts are used up, go to the dead letters."""
        tries = count_in(delivery, HEADER_TRIES) + spent
        if tries >= self._attempts:
            self.bury(delivery, arrival, f"failed {tries} times, at last: {reason}")
            return
        copy = again(delivery, tries=tries, waits=count_in(delivery, HEADER_WAITS), after_s=after_s)
        with self._transactions.begin() as unit:
            unit.messages.append(copy)
            if arrival.receipt is not None:
                # It is safe here now: its sender need not keep it.
                unit.messages.append(arrival.receipt)
        told = {"reason": reason[:500], "failed": tries, "again_in_s": round(copy.delay_s, 1)}
        log.warning("event_put_off", extra={**self._said(arrival), **told})
        self.count("retried")

    def bury(
        self, delivery: Delivery, arrival: Arrival | None, reason: str, *, receipt: Message | None = None
    ) -> None:
        """Keep it for people: nobody else will deal with it. `receipt` is its sender's, where there is no arrival."""
        with self._transactions.begin() as unit:
            unit.messages.append(dead(delivery, reason, prefix=self._prefix))
            receipt = receipt if arrival is None else arrival.receipt
            if receipt is not None:
                unit.messages.append(receipt)
        said = {"queue": delivery.queue} if arrival is None else self._said(arrival)
        log.error("event_dead_lettered", extra={**said, "reason": reason[:500]})
        self.count("dead_lettered")
        self._metrics.dead_lettered(self._participant)

    def count(self, became: Became) -> None:
        """Something became of a message."""
        self._metrics.heard(self._participant, self._subscriber, became)

    def _conclude(self, delivery: Delivery, arrival: Arrival, answer: Answer) -> None:
        if answer.outcome is Outcome.FAILED:
            self.put_off(delivery, arrival, answer.reason, spent=answer.spent, after_s=answer.retry_after_s)
            return
        if not answer.durable:
            if arrival.receipt is not None:
                # Whoever sent this copy may have missed the first receipt; it asks again if it misses this one.
                self._sender.send([arrival.receipt])
            self.count("repeated")
        elif answer.outcome is Outcome.REFUSED:
            log.warning("event_refused", extra={**self._said(arrival), "reason": answer.reason[:500]})
            self.count("refused")
        else:
            self.count("done")

    def _settled(self, delivery: Delivery, arrival: Arrival, caller: Caller) -> Answer:
        """What became of it, tried again where two transactions met (B7). Raises: Expired, Unfit, StoreUnavailable."""
        for tries_left in reversed(range(_TRIES)):
            try:
                return self._pass_barrier(arrival, caller)
            except Unwritten as unwritten:
                return unwritten.answer
            except Vanished:
                continue
            except (Expired, Unfit, StoreUnavailable):
                raise
            except Exception as raised:  # noqa: BLE001 - Whatever a handler raises, the worker goes on.
                error = raised.error if isinstance(raised, HandlerRaised) else raised
                if not (is_conflict(error) and tries_left):
                    return self._failed(delivery, error)
                time.sleep(_RETRY_S * random.random())
        return failed("the barrier's rows are being pruned", spent=False)

    def _pass_barrier(self, arrival: Arrival, caller: Caller) -> Answer:
        once = Command(
            saga=str(arrival.key),
            name=self._subscriber,
            path=arrival.path,
            op=Op.DO,
            command=self._subscriber,
            round=1,
            attempt=1,
            args=msgspec.Raw(NULL),
            started_at=arrival.started_ms,
        )
        with self._transactions.begin() as unit:
            run = self._runner(unit.connection, arrival, caller)
            answer = self._barrier.do(unit.connection, once, run, unit.later)
            if not answer.durable:
                raise Unwritten(answer)
            if arrival.receipt is not None:
                unit.messages.append(arrival.receipt)
        return answer

    def _runner(self, connection: Connection, arrival: Arrival, caller: Caller) -> Callable[[Run], bytes]:
        def run(_: Run) -> bytes:
            if arrival.refusal:
                raise Refused(arrival.refusal)
            workspace = HeldWorkspace(connection, self._guard)
            try:
                self._call(arrival, workspace, caller)
            finally:
                workspace.close()
            return NULL

        return run

    def _call(self, arrival: Arrival, workspace: HeldWorkspace, caller: Caller) -> None:
        """Raises: Refused, Unfit, HandlerEndedTransaction, StoreUnavailable, HandlerRaised with whatever else."""
        handler = self._handler
        assert handler is not None, "what has no handler is only put off, or buried"
        started = time.monotonic()
        try:
            arguments = handler.signature.arguments(arrival.payload, None, arrival.context(workspace))
        except InvalidPayload as error:
            raise Unfit(str(error)) from error
        try:
            with self._guard.handling():
                caller.call(handler, arguments)
            workspace.finish()
            if workspace.lost:
                raise StoreUnavailable("the database broke off while a handler ran")
        except (Refused, HandlerEndedTransaction):
            raise
        except BaseException as error:
            if workspace.lost and not is_idle_timeout(error):
                raise StoreUnavailable(f"the database broke off while a handler ran: {error}") from error
            raise HandlerRaised(error) from error
        finally:
            self._metrics.ran(self._participant, handler.name, "on", time.monotonic() - started)

    def _failed(self, delivery: Delivery, error: BaseException) -> Answer:
        if not is_expected(error):
            log.warning("event_handler_raised", extra={"queue": delivery.queue}, exc_info=error)
        return transient(error)

    def _said(self, arrival: Arrival) -> dict[str, object]:
        return {"subscriber": self._subscriber, **arrival.described}
