"""Several new `do` commands in one transaction: fewer round trips, and one COMMIT for all (B7)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from amends.db.errors import StoreUnavailable
from amends.outbox.wire import Command, Op
from amends.participants.barrier.answers import Answer
from amends.participants.barrier.barrier import Barrier, key_of
from amends.participants.barrier.judge import Run
from amends.participants.barrier.rows import StepKey
from amends.participants.logging import command_scope
from amends.participants.participant import Participant
from amends.participants.worker.calling import Caller
from amends.participants.worker.faults import LOCK_TIMEOUT, HandlerRaised, is_conflict, sqlstate
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.inbound import Inbound
from amends.participants.worker.running import HandlerRuns
from amends.participants.worker.sizing import BatchSize
from amends.participants.worker.transactions import Transactions
from amends.participants.worker.workspaces import HeldWorkspace

log = logging.getLogger(__name__)


class Batches:
    """Runs batches of one participant's commands. Thread-safe."""

    def __init__(
        self,
        participant: Participant,
        barrier: Barrier,
        transactions: Transactions,
        runs: HandlerRuns,
        guard: TransactionGuard,
        size: BatchSize,
    ) -> None:
        self._participant = participant
        self._barrier = barrier
        self._transactions = transactions
        self._runs = runs
        self._guard = guard
        self._size = size

    def done(self, inbounds: Sequence[Inbound], caller: Caller) -> list[tuple[Inbound, Answer]]:
        """Those that were new and are done now, durably; all others are to be obeyed one by one.

        If any handler raises, a refusal too, or the transaction fails, none is done.
        Raises: StoreUnavailable, CommitUnknown.
        """
        batch: dict[StepKey, Inbound] = {}
        for inbound in inbounds:
            if self._may_share(inbound):
                batch.setdefault(key_of(inbound.command), inbound)
        if len(batch) < 2:
            return []
        try:
            return self._together(batch, caller)
        except StoreUnavailable:
            raise
        except Exception as raised:  # noqa: BLE001 - Run alone, each tells for itself what is wrong.
            error = raised.error if isinstance(raised, HandlerRaised) else raised
            self._size.taken_apart(crosswise=is_conflict(error) or sqlstate(error) == LOCK_TIMEOUT)
            log.debug("batch_taken_apart", extra={"commands": len(batch), "error": type(error).__name__})
            return []

    def _together(self, batch: dict[StepKey, Inbound], caller: Caller) -> list[tuple[Inbound, Answer]]:
        with self._transactions.begin() as unit:

            def run(command: Command, verdict: Run) -> bytes:
                inbound = batch[key_of(command)]
                handler = self._participant.find(Op.DO, command.command)
                assert handler is not None, "only commands with handlers share a transaction"
                workspace = HeldWorkspace(unit.connection, self._guard)
                with command_scope(inbound.scope):
                    try:
                        return self._runs.run(inbound, handler, verdict, workspace, caller)
                    finally:
                        workspace.close()

            commands = {key: inbound.command for key, inbound in batch.items()}
            answers = self._barrier.do_together(unit.connection, commands, run, unit.later)
            answered = [(batch[key], answer) for key, answer in answers.items()]
            unit.messages += [inbound.reply(answer) for inbound, answer in answered]
        return answered

    def _may_share(self, inbound: Inbound) -> bool:
        if inbound.command.op is not Op.DO or inbound.delivery.delivery_count:
            return False  # What has come before may be what killed a worker: the others must not die with it.
        handler = self._participant.find(Op.DO, inbound.command.command)
        return handler is not None and not handler.external
