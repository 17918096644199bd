"""One command from its delivery to its answer.

Returning means that the message is dealt with, durably: acknowledge it. StoreUnavailable and CommitUnknown mean
that nothing may be acknowledged: the message goes back, and the barrier decides when it comes again (O3).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from amends.db.crashpoints import crash_point
from amends.db.errors import StoreUnavailable
from amends.outbox.dead_letters import dead_letter
from amends.outbox.message import Message
from amends.outbox.ports import Delivery
from amends.outbox.receipting import receipt_of
from amends.outbox.tracing import switch
from amends.outbox.wire import Op, Outcome
from amends.participants.barrier.answers import Answer, failed
from amends.participants.barrier.barrier import Barrier, Runner
from amends.participants.barrier.judge import Run
from amends.participants.barrier.store import Expired, Vanished
from amends.participants.calls.deferring import once_more
from amends.participants.errors import LockWanted, Refused
from amends.participants.locks.store import LockStore
from amends.participants.metrics import ParticipantMetrics
from amends.participants.participant import Handler, Participant
from amends.participants.worker.batches import Batches
from amends.participants.worker.calling import Caller
from amends.participants.worker.ending import Ends
from amends.participants.worker.external import ExternalCalls
from amends.participants.worker.faults import HandlerRaised, is_conflict, is_expected, transient
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.inbound import (
    DELIVERIES_MAX,
    Inbound,
    Undeliverable,
    read_inbound,
)
from amends.participants.worker.running import HandlerRuns
from amends.participants.worker.sizing import BatchSize
from amends.participants.worker.stopwatch import Stopwatch
from amends.participants.worker.transactions import OpensTransactions, Unwritten
from amends.participants.worker.workspaces import HeldWorkspace

log = logging.getLogger(__name__)

UNKNOWN_COMMAND_RETRY_S: Final = 10.0
BUSY: Final = "busy: this worker has as many of these commands as its limits allow"
_A = TypeVar("_A")
_TRIES: Final = 4
_RETRY_S: Final = 0.02


class Sends(Protocol):
    """Sends what needs no outbox row: an answer that asking again would find again."""

    def send(self, messages: Sequence[Message]) -> None:
        """Publish these; they may be lost."""


class Execution:
    """Obeys the commands of one participant. Thread-safe; each thread brings its own Caller."""

    def __init__(
        self,
        participant: Participant,
        prefix: str,
        barrier: Barrier,
        transactions: OpensTransactions,
        sender: Sends,
        guard: TransactionGuard,
        metrics: ParticipantMetrics,
        *,
        lease_s: float,
        batch: BatchSize,
        together_max: int,
        stopwatch: Stopwatch,
        locks: LockStore,
    ) -> None:
        self._ends = Ends(transactions, sender, locks)
        self._participant = participant
        self._prefix = prefix
        self._barrier = barrier
        self._transactions = transactions
        self._sender = sender
        self._guard = guard
        self._metrics = metrics
        self._runs = HandlerRuns(guard, metrics, batch, stopwatch, locks)
        self._batches = Batches(participant, barrier, transactions, self._runs, guard, batch, together_max)
        self._external = ExternalCalls(barrier, transactions, self._runs, guard, lease_s)

    def obey(
        self, deliveries: Sequence[Delivery], caller: Caller, done: Callable[[Sequence[Delivery]], None]
    ) -> None:
        """Deal with some messages; `done` is told of those that are, durably.

        Raises: StoreUnavailable, CommitUnknown.
        """
        crash_point("participant.received")
        inbounds: list[Inbound] = []
        for delivery in deliveries:
            try:
                inbounds.append(
                    read_inbound(delivery, participant=self._participant.name, prefix=self._prefix)
                )
            except Undeliverable as error:
                self._bury(delivery, str(error))
                done([delivery])
        if switch.tracing is None:
            self._obey(inbounds, caller, done)
            return
        traced = [inbound.traced(switch.tracing) for inbound in inbounds]
        try:
            self._obey(traced, caller, done)
        finally:
            # Those that were not dealt with go back, and come again: as another span of the same trace.
            for inbound in traced:
                if inbound.work is not None:
                    inbound.work.end()

    def _obey(
        self, inbounds: Sequence[Inbound], caller: Caller, done: Callable[[Sequence[Delivery]], None]
    ) -> None:
        together = self._batches.done(inbounds, caller) if len(inbounds) > 1 else []
        if together:
            for inbound, answer in together:
                inbound.told(answer)
                self._count(Op.DO, inbound.command.command, answer)
            done([inbound.delivery for inbound, _ in together])
        finished = {id(inbound) for inbound, _ in together}
        for inbound in inbounds:
            if id(inbound) not in finished:
                self._obey_alone(inbound, caller)
                done([inbound.delivery])

    def turn_away(self, delivery: Delivery, retry_after_s: float) -> bool:
        """Answer that the handler has enough to do: transient, unspent (M3). False if it is no readable command."""
        try:
            inbound = read_inbound(delivery, participant=self._participant.name, prefix=self._prefix)
        except Undeliverable:
            return False
        answer = failed(BUSY, spent=False, retry_after_s=retry_after_s)
        try:
            self._reply(inbound, answer)
        except StoreUnavailable:
            return False
        self._count(inbound.command.op, inbound.command.command, answer)
        return True

    def _obey_alone(self, inbound: Inbound, caller: Caller) -> None:
        with inbound.obeyed():
            if inbound.command.op is Op.END:
                self._ends.obey(inbound)
                inbound.told(Answer(outcome=Outcome.DONE))
            elif inbound.poisonous:
                self._give_up(inbound)
            else:
                self._answer(inbound, caller)

    def _answer(self, inbound: Inbound, caller: Caller) -> None:
        command = inbound.command
        handler = None if command.op is Op.FENCE else self._participant.find(command.op, command.command)
        if handler is None and command.op is not Op.FENCE:
            known = ", ".join(self._participant.names(command.op)) or "none"
            answer = failed(
                f"unknown_command: {self._participant.name} has no {command.op} {command.command[:120]!r}; "
                f"known: {known}",
                spent=False,
                retry_after_s=UNKNOWN_COMMAND_RETRY_S,
            )
        elif handler is not None and handler.hand_over is not None and command.op is Op.DO:
            standing = self._settled(inbound, lambda: self._hand_over(inbound, handler))
            if standing is None:
                self._metrics.handed_over(self._participant.name, handler.name)
                return
            answer = standing
        elif handler is not None and handler.external and command.op is Op.DO:
            answer = self._settled(inbound, lambda: self._external.call(inbound, handler, caller))
        else:
            answer = self._settled(inbound, lambda: self._pass_barrier(inbound, handler, caller))
        if not answer.durable:
            self._reply(inbound, answer)
        inbound.told(answer)
        self._count(command.op, handler.name if handler else "unknown", answer)

    def _reply(self, inbound: Inbound, answer: Answer) -> None:
        """Send an answer that wrote nothing: from memory, if whoever asked asks again. Raises: StoreUnavailable."""
        if not inbound.asked_once:
            self._sender.send([inbound.reply(answer)])
            return
        with self._transactions.begin() as unit:
            unit.messages.append(once_more(inbound, answer) or inbound.reply(answer))

    def _settled(self, inbound: Inbound, attempt: Callable[[], _A]) -> _A | Answer:
        """The answer, tried again where two transactions met (B7). A durable one has its reply in the outbox."""
        for tries_left in reversed(range(_TRIES)):
            try:
                return attempt()
            except Unwritten as unwritten:
                return unwritten.answer
            except Refused as refusal:  # Of an undo or confirm: it stores nothing (B3).
                return Answer(outcome=Outcome.REFUSED, reason=refusal.reason, certain=refusal.certain)
            except Expired:
                return self._ends.expired(inbound)
            except Vanished:
                continue
            except StoreUnavailable:
                raise
            except Exception as raised:  # noqa: BLE001 - Whatever a handler raises is an answer; the worker goes on.
                error = raised.error if isinstance(raised, HandlerRaised) else raised
                if isinstance(error, LockWanted):
                    self._ends.queue_up(error)
                if not (is_conflict(error) and tries_left):
                    return self._failed(error)
                time.sleep(_RETRY_S * random.random())
        return failed("the barrier's rows are being pruned", spent=False)

    def _hand_over(self, inbound: Inbound, handler: Handler) -> None:
        """Let another program obey it, behind the same barrier: it gets the command if, and only if, we commit.

        What stands already is answered here, without that program. Raises: Unwritten.
        """
        assert handler.hand_over is not None, "asked for before"
        with self._transactions.begin() as unit:
            standing = self._barrier.look(unit.connection, inbound.command)
            if standing is not None:
                raise Unwritten(standing)
            unit.messages.append(handler.hand_over(inbound))

    def _pass_barrier(self, inbound: Inbound, handler: Handler | None, caller: Caller) -> Answer:
        command = inbound.command
        with self._transactions.begin() as unit:
            workspace = HeldWorkspace(unit.connection, self._guard)
            if handler is None:
                answer = self._barrier.fence(unit.connection, command)
            else:
                run = self._runner(workspace, inbound, handler, caller)
                if command.op is Op.DO:
                    answer = self._barrier.do(unit.connection, command, run, unit.later)
                else:
                    through = self._barrier.undo if command.op is Op.UNDO else self._barrier.confirm
                    answer = through(unit.connection, command, run)
            if not answer.durable:
                raise Unwritten(answer)
            answer = answer.of_one_that_holds(workspace.locked, command.saga)
            unit.messages.append(inbound.reply(answer))
        return answer

    def _runner(self, workspace: HeldWorkspace, inbound: Inbound, handler: Handler, caller: Caller) -> Runner:
        def run(verdict: Run) -> bytes:
            try:
                return self._runs.run(inbound, handler, verdict, workspace, caller)
            finally:
                workspace.close()

        return run

    def _failed(self, error: BaseException) -> Answer:
        answer = transient(error)
        if is_expected(error):
            log.info("command_failed", extra={"reason": answer.reason, "spent": answer.spent})
        else:
            log.warning("handler_raised", exc_info=error)
        return answer

    def _give_up(self, inbound: Inbound) -> None:
        """A message that came too often: it may be what kills the worker. The saga's policy decides."""
        answer = failed(f"delivered over {DELIVERIES_MAX} times: it may kill the worker", spent=True)
        copy = dead_letter(inbound.delivery, answer.reason, prefix=self._prefix)
        with self._transactions.begin() as unit:
            unit.messages += [inbound.reply(answer), copy]
        log.error("command_poisonous", extra={"delivery_count": inbound.delivery.delivery_count})
        self._metrics.dead_lettered(self._participant.name)

    def _bury(self, delivery: Delivery, reason: str) -> None:
        """A message that nobody can answer."""
        with self._transactions.begin() as unit:
            unit.messages.append(dead_letter(delivery, reason, prefix=self._prefix))
            receipt = receipt_of(delivery, "buried")
            if receipt is not None:  # It would come again for ever, and be no better (O1).
                unit.messages.append(receipt)
        log.warning("message_dead_lettered", extra={"reason": reason, "queue": delivery.queue})
        self._metrics.dead_lettered(self._participant.name)

    def _count(self, op: Op, command: str, answer: Answer) -> None:
        self._metrics.answered(self._participant.name, command, op, answer.outcome)
        if answer.repeated:
            self._metrics.repeated(self._participant.name, op, answer.outcome)
