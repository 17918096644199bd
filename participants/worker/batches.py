"""Several new `do` commands in one transaction: fewer round trips, and one COMMIT for all (B7)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from amends.db.crashpoints import crash_point
from amends.db.errors import StoreUnavailable
from amends.outbox.wire import Op
from amends.participants.barrier.answers import Answer
from amends.participants.barrier.barrier import Barrier, key_of
from amends.participants.barrier.judge import Run
from amends.participants.barrier.rows import StepKey
from amends.participants.participant import Handler, Participant
from amends.participants.worker.calling import Caller
from amends.participants.worker.faults import LOCK_TIMEOUT, HandlerRaised, is_conflict, sqlstate
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.inbound import Inbound
from amends.participants.worker.running import HandlerRuns
from amends.participants.worker.sizing import BatchSize
from amends.participants.worker.transactions import OpensTransactions, Unit
from amends.participants.worker.workspaces import HeldWorkspace

log = logging.getLogger(__name__)


class Batches:
    """Runs batches of one participant's commands. Thread-safe."""

    def __init__(
        self,
        participant: Participant,
        barrier: Barrier,
        transactions: OpensTransactions,
        runs: HandlerRuns,
        guard: TransactionGuard,
        size: BatchSize,
        most: int,
    ) -> None:
        """`most` is how many of a handler share a transaction where the handler itself says nothing."""
        self._most = most
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
        done: list[tuple[Inbound, Answer]] = []
        for batch in self._groups(inbounds):
            if len(batch) > 1:
                done += self._done(batch, caller)
        return done

    def _groups(self, inbounds: Sequence[Inbound]) -> list[dict[StepKey, Inbound]]:
        """What may share a transaction each: in the first as many of each handler as may, the rest in the next."""
        groups: list[dict[StepKey, Inbound]] = []
        counts: Counter[str] = Counter()
        for inbound in inbounds:
            most = self._shares(inbound)
            if most > 1:
                name, key = inbound.command.command, key_of(inbound.command)
                if any(key in group for group in groups):
                    continue
                number = counts[name] // most
                groups += [{} for _ in range(number + 1 - len(groups))]
                groups[number][key] = inbound
                counts[name] += 1
        return groups

    def _done(self, batch: dict[StepKey, Inbound], caller: Caller) -> list[tuple[Inbound, Answer]]:
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
        locked: set[str] = set()
        with self._transactions.begin() as unit:

            def run(runs: Mapping[StepKey, Run]) -> dict[StepKey, bytes]:
                return self._results(unit, batch, runs, caller, locked)

            commands = {key: inbound.command for key, inbound in batch.items()}
            answers = self._barrier.do_together(unit.connection, commands, run, unit.later)
            answered = [
                (batch[key], answer.of_one_that_holds(locked, str(key.saga)))
                for key, answer in answers.items()
            ]
            unit.messages += [inbound.reply(answer) for inbound, answer in answered]
        return answered

    def _results(
        self,
        unit: Unit,
        batch: Mapping[StepKey, Inbound],
        runs: Mapping[StepKey, Run],
        caller: Caller,
        locked: set[str],
    ) -> dict[StepKey, bytes]:
        """Run the handler of each, or of all that one function takes at once."""
        results: dict[StepKey, bytes] = {}
        for name, keys in _by_name(batch, runs).items():
            handler = self._participant.find(Op.DO, name)
            assert handler is not None, "only commands with handlers share a transaction"
            function = self._participant.together(name)
            if function is not None and len(keys) > 1:
                crash_point("participant.barrier.after")
                some = [(batch[key], runs[key]) for key in keys]
                workspace = HeldWorkspace(unit.connection, self._guard)
                try:
                    together = self._runs.run_together(some, handler, function, workspace)
                finally:
                    workspace.close()
                    locked |= workspace.locked
                results.update(zip(keys, together, strict=True))
                crash_point("participant.handler.after")
                continue
            for key in keys:
                crash_point("participant.barrier.after")
                results[key] = self._result(unit, batch[key], handler, runs[key], caller, locked)
                crash_point("participant.handler.after")
        return results

    def _result(
        self, unit: Unit, inbound: Inbound, handler: Handler, verdict: Run, caller: Caller, locked: set[str]
    ) -> bytes:
        workspace = HeldWorkspace(unit.connection, self._guard)
        with inbound.obeyed():
            try:
                return self._runs.run(inbound, handler, verdict, workspace, caller)
            finally:
                workspace.close()
                locked |= workspace.locked

    def _shares(self, inbound: Inbound) -> int:
        """How many of this one's handler may share a transaction; below 2: it runs alone."""
        if inbound.command.op is not Op.DO or inbound.delivery.delivery_count:
            return 0  # What has come before may be what killed a worker: the others must not die with it.
        handler = self._participant.find(Op.DO, inbound.command.command)
        if handler is None or handler.external or handler.hand_over is not None:
            return 0
        return handler.limits.batch or self._most


def _by_name(batch: Mapping[StepKey, Inbound], runs: Iterable[StepKey]) -> dict[str, list[StepKey]]:
    """The keys of each command's name; of one name in the order in which they came."""
    keys: dict[str, list[StepKey]] = {}
    for key in runs:
        keys.setdefault(batch[key].command.command, []).append(key)
    return keys
