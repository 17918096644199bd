"""Running one handler: payloads in, context, time taken, result out, and what it may raise."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from amends.db.errors import StoreUnavailable
from amends.outbox.limits import BODY_BYTES_MAX
from amends.outbox.wire import Op
from amends.participants.barrier.answers import NULL
from amends.participants.barrier.judge import Run
from amends.participants.calls.request import command_called
from amends.participants.context import Ctx, Locking, NoLocks, Workspace
from amends.participants.errors import HandlerEndedTransaction, InvalidPayload, Refused
from amends.participants.locks.store import LockStore
from amends.participants.locks.taking import HandlerLocks
from amends.participants.metrics import ParticipantMetrics
from amends.participants.participant import Handler, Together
from amends.participants.payloads import encode
from amends.participants.worker.calling import Caller
from amends.participants.worker.faults import HandlerRaised, is_idle_timeout
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.inbound import Inbound
from amends.participants.worker.sizing import BatchSize
from amends.participants.worker.stopwatch import Stopwatch
from amends.participants.worker.workspaces import LeaseLost

log = logging.getLogger(__name__)

# What a reply carries beside its result.
_ENVELOPE_BYTES: Final = 8 * 1024
RESULT_BYTES_MAX: Final = BODY_BYTES_MAX - _ENVELOPE_BYTES


class ResultTooLarge(Refused):
    """The handler did its work, but no reply can carry what it returned (O5)."""


class HandlerWorkspace(Workspace, Protocol):
    """A workspace as the worker sees it."""

    locked: set[str]

    @property
    def lost(self) -> bool:
        """Whether the database broke off, or could not be reached, under the handler."""

    def finish(self) -> None:
        """Write what the session still holds, once the handler is no more watched."""


class HandlerRuns:
    """Runs handlers of one participant. Thread-safe."""

    def __init__(
        self,
        guard: TransactionGuard,
        metrics: ParticipantMetrics,
        batch: BatchSize,
        stopwatch: Stopwatch,
        locks: LockStore,
    ) -> None:
        self._stopwatch = stopwatch
        self._locks = locks
        self._guard = guard
        self._metrics = metrics
        self._batch = batch

    def run(
        self, inbound: Inbound, handler: Handler, verdict: Run, workspace: HandlerWorkspace, caller: Caller
    ) -> bytes:
        """The handler's result as JSON.

        Raises: Refused, also for args of the wrong type or size and for a result that is too large (O5);
        HandlerEndedTransaction; LeaseLost; StoreUnavailable if our own connection broke; HandlerRaised with whatever
        else the handler raises.
        """
        _check_size(handler, verdict)
        started = time.monotonic()
        ctx = self._context(inbound, handler, verdict, workspace, self._ends_at(handler, started))
        try:
            with (
                self._stopwatch.running(inbound.delivery, handler.limits.time_limit_s),
                self._guard.handling(),
            ):
                value = self._call(handler, verdict, ctx, caller)
            workspace.finish()
            if workspace.lost:
                raise StoreUnavailable("the database broke off while a handler ran")
            result = encode(value) if handler.op is Op.DO else NULL
        except (Refused, HandlerEndedTransaction, LeaseLost):
            raise
        except InvalidPayload as error:
            raise Refused(f"invalid_args: {error}") from error
        except BaseException as error:
            if workspace.lost and not is_idle_timeout(error):
                raise StoreUnavailable(f"the database broke off while a handler ran: {error}") from error
            raise HandlerRaised(error) from error
        finally:
            self._measured(inbound.participant, handler, time.monotonic() - started)
        return _fitting(result)

    def run_together(
        self,
        commands: Sequence[tuple[Inbound, Run]],
        handler: Handler,
        function: Together,
        workspace: HandlerWorkspace,
    ) -> list[bytes]:
        """The results, as JSON, of several commands of this handler that `function` obeys at once. Raises: as `run`."""
        for _, verdict in commands:
            _check_size(handler, verdict)
        started = time.monotonic()
        ends_at = self._ends_at(handler, started)
        ctxs = [self._context(inbound, handler, verdict, workspace, ends_at) for inbound, verdict in commands]
        reader = handler.signature.command
        limit_s = handler.limits.time_limit_s
        try:
            payloads = [None if reader is None else reader.read(verdict.args) for _, verdict in commands]
            with self._stopwatch.running(commands[0][0].delivery, limit_s), self._guard.handling():
                values = function(payloads, ctxs)
            workspace.finish()
            if workspace.lost:
                raise StoreUnavailable("the database broke off while a handler ran")
            if not isinstance(values, list | tuple) or len(values) != len(commands):
                log.error("together_miscounted", extra={"command": handler.name, "commands": len(commands)})
                raise TypeError(f"{handler.name}.together must give a list of {len(commands)} results")
            return [_fitting(encode(value)) for value in values]
        except (Refused, HandlerEndedTransaction):
            raise
        except BaseException as error:
            if workspace.lost and not is_idle_timeout(error):
                raise StoreUnavailable(f"the database broke off while a handler ran: {error}") from error
            raise HandlerRaised(error) from error
        finally:
            each_s = (time.monotonic() - started) / len(commands)
            for inbound, _ in commands:
                self._measured(inbound.participant, handler, each_s)

    def _context(
        self, inbound: Inbound, handler: Handler, verdict: Run, workspace: HandlerWorkspace, ends_at: float
    ) -> Ctx:
        command = inbound.command
        deadline = command.deadline
        return Ctx(
            saga=command.saga,
            saga_name=command.name,
            path=command.path,
            op=command.op,
            round=command.round,
            attempt=command.attempt,
            deadline=None if deadline is None else datetime.fromtimestamp(deadline / 1000, UTC),
            labels=command.labels,
            certain=verdict.certain,
            traceparent=inbound.traceparent,
            tracestate=inbound.tracestate,
            ends_at=ends_at,
            workspace=workspace,
            locking=self._locking(inbound, handler, workspace),
        )

    def _locking(self, inbound: Inbound, handler: Handler, workspace: HandlerWorkspace) -> Locking:
        if command_called(inbound.command.path) is not None:
            return NoLocks()  # Of a call there is no saga: nothing would ever let it go.
        return HandlerLocks(self._locks, inbound.command, workspace, external=handler.external)

    def _ends_at(self, handler: Handler, started: float) -> float:
        limits = handler.limits
        return started + (limits.soft_time_limit_s or limits.time_limit_s or self._stopwatch.limit_s)

    def _measured(self, participant: str, handler: Handler, seconds: float) -> None:
        self._metrics.ran(participant, handler.name, handler.op, seconds)
        if handler.op is Op.DO and not handler.external:
            self._batch.ran(seconds)

    def _call(self, handler: Handler, verdict: Run, ctx: Ctx, caller: Caller) -> object:
        arguments = handler.signature.arguments(verdict.args, verdict.result, ctx)
        try:
            return caller.call(handler, arguments)
        except InvalidPayload as error:
            # Of a payload that the handler itself reads.
            raise HandlerRaised(error) from error


def _fitting(result: bytes) -> bytes:
    """The result, if a reply can carry it. Raises: ResultTooLarge."""
    if len(result) > RESULT_BYTES_MAX:
        raise ResultTooLarge(
            f"result_too_large: {len(result):,} bytes are over the limit of {RESULT_BYTES_MAX:,}"
        )
    return result


def _check_size(handler: Handler, verdict: Run) -> None:
    """Raises: Refused if the args are larger than the handler takes."""
    most = handler.limits.payload_bytes_max
    if most is not None and len(verdict.args) > most:
        raise Refused(
            f"payload_too_large: {len(verdict.args):,} bytes of args are over the {most:,} that {handler.name} takes"
        )
