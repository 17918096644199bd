"""The barrier: each function takes one command through its rules, within the caller's open transaction.

The answer says whether that transaction wrote something (`durable`). Whatever is raised, the caller rolls back:
Refused from an undo or confirm stores nothing (B3), any other error leaves no trace (B1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias
from uuid import UUID, uuid4

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from amends.db.crashpoints import crash_point
from amends.db.mysql import NO_SAVEPOINT, code
from amends.db.trips import Statement
from amends.outbox.wire import Command, Op, Outcome
from amends.participants.barrier.answers import Answer, clipped, failed
from amends.participants.barrier.judge import (
    Run,
    judge_closing,
    judge_confirm,
    judge_do,
    judge_fence,
    judge_undo,
)
from amends.participants.barrier.rows import BarrierRow, Stand, StepKey
from amends.participants.barrier.store import BarrierStore, Claim, Settled
from amends.participants.errors import HandlerEndedTransaction, Refused

# Runs the handler and gives its result as JSON. Raises: Refused, and whatever the handler raises.
Runner: TypeAlias = Callable[[Run], bytes]

# Takes statements that are to run before the transaction's COMMIT, in this order; the caller sends them with it.
Later: TypeAlias = Callable[[Statement], None]

CALL_IN_DOUBT: Final = "an external call never told its outcome"
SAVEPOINT_GONE: Final = "its savepoint is gone"
_NO_SAVEPOINT: Final = ("3B001", "25P01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An external call that was announced: ours to make, and to tell the outcome of, while `token` stands (B5)."""

    key: StepKey
    token: UUID
    run: Run


class Barrier:
    """One database's barrier."""

    def __init__(self, store: BarrierStore) -> None:
        self._store = store

    def do(self, connection: Connection, command: Command, run: Runner, later: Later | None = None) -> Answer:
        """B1. With `later`, what it writes last is left to that; `ended_by_handler` then reads the error, if any.

        Raises: Expired, Vanished, HandlerEndedTransaction, and what `run` raises but Refused.
        """
        key = key_of(command)
        saved = self._store.claim_and_save(
            connection, key, Op.DO, Stand.CALLING, round_=command.round, started_at=command.started_at
        )
        if saved:
            # An undo row never stands without its do row, so there is none to read.
            verdict = Run(args=bytes(command.args))
        else:
            judged = self._judge_do(connection, command, external=False)
            if isinstance(judged, Answer):
                return judged
            verdict = judged
            self._store.savepoint(connection)
        try:
            result = _ran(verdict, run)
        except Refused as refusal:
            self._undo_handler(connection)
            settled = _refusal(command, verdict, refusal, verdict.calls)
        else:
            self._keep_handler(connection, later)
            settled = _success(command, verdict, result, verdict.calls)
        self._write(connection, [self._store.settling(key, Op.DO, settled)], later)
        return _answer(settled)

    def do_together(
        self,
        connection: Connection,
        commands: Mapping[StepKey, Command],
        run: Callable[[Mapping[StepKey, Run]], Mapping[StepKey, bytes]],
        later: Later | None = None,
    ) -> dict[StepKey, Answer]:
        """B7: run those of these `do` commands that are new, without savepoints: if one raises, all must roll back.

        The others are left to be taken through one by one. `run` gives the result of each. `later` as in `do`.
        Raises: HandlerEndedTransaction, and what `run` raises, Refused too.
        """
        claims = [Claim(key, command.round, command.started_at) for key, command in commands.items()]
        new = self._store.claim_new(connection, claims)
        if not new:
            return {}
        runs = {key: Run(args=bytes(command.args)) for key, command in commands.items() if key in new}
        settled = {key: _success(commands[key], runs[key], result, 0) for key, result in run(runs).items()}
        self._keep_handler(connection, later)
        self._write(connection, self._store.settling_new(settled), later)
        return {key: _answer(one) for key, one in settled.items()}

    def look(self, connection: Connection, command: Command) -> Answer | None:
        """What stands and answers this `do` already; None if it would run. Holds nothing, so it settles nothing."""
        key = key_of(command)
        row = self._store.read(connection, key, Op.DO)
        if row is None:
            return None
        undo = self._store.read(connection, key, Op.UNDO)
        # Where a run would follow only because it is external, the program that it is handed to says so itself.
        verdict = judge_do(row, undo, command_round=command.round, args=bytes(command.args), external=True)
        return verdict if isinstance(verdict, Answer) else None

    def undo(self, connection: Connection, command: Command, run: Runner) -> Answer:
        """B2. Raises: Expired, Vanished, HandlerEndedTransaction, and what `run` raises."""
        key = key_of(command)
        own = self._claim(connection, command, Op.UNDO, Stand.CALLING)
        do = self._claim(connection, command, Op.DO, Stand.NEVER) if own is None else None
        verdict = judge_undo(own, do)
        holds = any(row is not None and row.holds for row in (own, do))
        if isinstance(verdict, Answer):
            verdict = replace(verdict, holds=holds)
            if verdict.durable:
                self._store.settle(
                    connection, key, Op.UNDO, Settled(stand=Stand.NOTHING, round=command.round)
                )
            return verdict
        self._in_savepoint(connection, verdict, run)
        if not verdict.certain:
            # The call that never told is voided now: should it still tell, it must not be believed.
            self._store.finalize(connection, key, CALL_IN_DOUBT)
        settled = Settled(stand=Stand.DONE, round=command.round, certain=verdict.certain)
        self._store.settle(connection, key, Op.UNDO, settled)
        return Answer(outcome=Outcome.DONE, durable=True, holds=holds)

    def confirm(self, connection: Connection, command: Command, run: Runner) -> Answer:
        """B3. Raises: Expired, Vanished, HandlerEndedTransaction, and what `run` raises."""
        key = key_of(command)
        own = self._claim(connection, command, Op.CONFIRM, Stand.CALLING)
        do = undo = None
        if own is None:
            do, undo = self._store.read(connection, key, Op.DO), self._store.read(connection, key, Op.UNDO)
        verdict = judge_confirm(own, do, undo)
        if isinstance(verdict, Answer):
            return verdict
        self._in_savepoint(connection, verdict, run)
        self._store.settle(connection, key, Op.CONFIRM, Settled(stand=Stand.DONE, round=command.round))
        return Answer(outcome=Outcome.DONE, durable=True)

    def fence(self, connection: Connection, command: Command) -> Answer:
        """B3: make sure that it never runs, or tell that it did. Raises: Expired, Vanished."""
        if command.closes in (Op.UNDO, Op.CONFIRM):
            return self._close(connection, command, command.closes)
        standing = self._claim(connection, command, Op.DO, Stand.NEVER)
        if standing is None:
            return Answer(outcome=Outcome.NEVER, durable=True)
        answer = judge_fence(standing, command.round, closing=command.closes is not None)
        if answer.durable:
            self._store.finalize(connection, key_of(command), CALL_IN_DOUBT)
        return answer

    def intend(
        self, connection: Connection, command: Command, lease_s: float, later: Later | None = None
    ) -> Answer | Intent:
        """B5: announce an external call, to be made after this transaction's commit. `later` as in `do`.

        Raises: Expired, Vanished.
        """
        verdict = self._judge_do(connection, command, external=True)
        if isinstance(verdict, Answer):
            return verdict
        intent = Intent(key=key_of(command), token=uuid4(), run=verdict)
        leasing = self._store.leasing(
            intent.key,
            token=intent.token,
            lease_s=lease_s,
            round_=command.round,
            args=verdict.args,
            calls=verdict.calls + 1,
        )
        self._write(connection, [leasing], later)
        return intent

    def hold(self, connection: Connection, intent: Intent) -> bool:
        """Hold the row of one's own call and begin the part that a refusal undoes; False if it is ours no more."""
        return self._store.own_and_save(connection, intent.key, intent.token)

    def conclude(
        self,
        connection: Connection,
        command: Command,
        intent: Intent,
        outcome: bytes | Refused,
        later: Later | None = None,
    ) -> Answer:
        """Store the result or refusal of an external call over the lease that `hold` found to be ours (B4, B5).

        `later` as in `do`. Raises: HandlerEndedTransaction.
        """
        calls = intent.run.calls + 1
        if isinstance(outcome, Refused):
            self._undo_handler(connection)
            settled = _refusal(command, intent.run, outcome, calls)
        else:
            self._keep_handler(connection, later)
            settled = _success(command, intent.run, outcome, calls)
        self._write(connection, [self._store.settling(intent.key, Op.DO, settled)], later)
        return _answer(settled)

    def standing(self, connection: Connection, command: Command) -> Answer:
        """What was stored instead of one's own outcome (B4, B5)."""
        row = self._store.lock(connection, key_of(command), Op.DO)
        if row is not None and row.stand is not Stand.CALLING:
            undo = self._store.read(connection, key_of(command), Op.UNDO)
            verdict = judge_do(row, undo, command_round=row.round, args=b"", external=True)
            if isinstance(verdict, Answer):
                return verdict
        return failed("another attempt makes this external call", spent=False)

    def give_up(self, connection: Connection, intent: Intent) -> None:
        """The external call failed: leave it in doubt, for the next attempt to make again at once (B5)."""
        self._store.end_lease(connection, intent.key, intent.token)

    def _judge_do(self, connection: Connection, command: Command, *, external: bool) -> Answer | Run:
        args = bytes(command.args)
        standing = self._claim(connection, command, Op.DO, Stand.CALLING)
        if standing is None:
            # An undo row never stands without its do row, so there is none to read.
            return Run(args=args)
        undo = self._store.read(connection, key_of(command), Op.UNDO)
        return judge_do(standing, undo, command_round=command.round, args=args, external=external)

    def _close(self, connection: Connection, command: Command, op: Op) -> Answer:
        """B3: a closing fence of undo locks as an undo does; of confirm it takes the confirm row alone."""
        own = self._claim(connection, command, op, Stand.NEVER)
        do = self._claim(connection, command, Op.DO, Stand.NEVER) if op is Op.UNDO else None
        holds = any(row is not None and row.holds for row in (own, do))
        answer = replace(judge_closing(own, do), holds=holds)
        if answer.durable:
            if own is not None:
                self._store.settle(
                    connection, key_of(command), op, Settled(stand=Stand.NEVER, round=command.round)
                )
            if do is not None and do.in_doubt:
                self._store.finalize(connection, key_of(command), CALL_IN_DOUBT)
        return answer

    def _claim(self, connection: Connection, command: Command, op: Op, stand: Stand) -> BarrierRow | None:
        return self._store.claim(
            connection, key_of(command), op, stand, round_=command.round, started_at=command.started_at
        )

    def _in_savepoint(self, connection: Connection, verdict: Run, run: Runner) -> bytes:
        self._store.savepoint(connection)
        result = _ran(verdict, run)
        self._keep_handler(connection)
        return result

    def _keep_handler(self, connection: Connection, later: Later | None = None) -> None:
        if later is None:
            self._in_our_transaction(self._store.release, connection)
        else:
            later(self._store.releasing)

    @staticmethod
    def _write(connection: Connection, statements: Iterable[Statement], later: Later | None) -> None:
        for statement in statements:
            if later is None:
                connection.exec_driver_sql(*statement)
            else:
                later(statement)

    def _undo_handler(self, connection: Connection) -> None:
        self._in_our_transaction(self._store.rollback_to, connection)

    @staticmethod
    def _in_our_transaction(statement: Callable[[Connection], None], connection: Connection) -> None:
        """Ends the savepoint. If it is gone, so is the transaction it was in (B4)."""
        try:
            statement(connection)
        except DBAPIError as error:
            if not ended_by_handler(error):
                raise
            raise HandlerEndedTransaction(SAVEPOINT_GONE) from error


def ended_by_handler(error: DBAPIError) -> bool:
    """Whether the handler's savepoint, and so the transaction that it was in, had ended before we ended it (B4)."""
    state = getattr(error.orig, "sqlstate", None)
    return (
        state in _NO_SAVEPOINT or code(error.orig) == NO_SAVEPOINT or "no such savepoint" in str(error.orig)
    )


def _ran(verdict: Run, run: Runner) -> bytes:
    crash_point("participant.barrier.after")
    result = run(verdict)
    crash_point("participant.handler.after")
    return result


def key_of(command: Command) -> StepKey:
    """The step instance that a command is for. Raises: ValueError if its saga is no UUID."""
    return StepKey(UUID(command.saga), command.path)


def _success(command: Command, run: Run, result: bytes, calls: int) -> Settled:
    return Settled(stand=Stand.DONE, round=command.round, args=run.args, result=result, calls=calls)


def _refusal(command: Command, run: Run, refusal: Refused, calls: int) -> Settled:
    """What happened before stays in doubt, whatever this refusal says (B5)."""
    certain = refusal.certain and run.certain
    reason = clipped(refusal.reason)
    return Settled(
        stand=Stand.REFUSED, round=command.round, certain=certain, reason=reason, args=run.args, calls=calls
    )


def _answer(settled: Settled) -> Answer:
    if settled.stand is Stand.DONE:
        return Answer(outcome=Outcome.DONE, result=settled.result or b"null", durable=True)
    return Answer(outcome=Outcome.REFUSED, reason=settled.reason, certain=settled.certain, durable=True)
