"""Handlers whose effect is outside this database (B5).

commit the intent, leased --> call, outside any transaction --> commit the outcome, over one's own lease
"""

from __future__ import annotations

from amends.db.crashpoints import crash_point
from amends.db.errors import StoreUnavailable
from amends.participants.barrier.answers import Answer
from amends.participants.barrier.barrier import Barrier, Intent
from amends.participants.errors import Refused
from amends.participants.participant import Handler
from amends.participants.worker.calling import Caller
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.inbound import Inbound
from amends.participants.worker.running import HandlerRuns, ResultTooLarge
from amends.participants.worker.settings import LEASE_MARGIN_S
from amends.participants.worker.transactions import OpensTransactions, Unwritten
from amends.participants.worker.workspaces import LateWorkspace, LeaseLost


class ExternalCalls:
    """Takes `do` commands through an external handler. Thread-safe."""

    def __init__(
        self,
        barrier: Barrier,
        transactions: OpensTransactions,
        runs: HandlerRuns,
        guard: TransactionGuard,
        lease_s: float,
    ) -> None:
        self._barrier = barrier
        self._transactions = transactions
        self._runs = runs
        self._guard = guard
        self._lease_s = lease_s

    def call(self, inbound: Inbound, handler: Handler, caller: Caller) -> Answer:
        """Announce the call, make it, store what came of it.

        Raises: Unwritten with an answer that stood before the call; Expired, Vanished, StoreUnavailable,
        CommitUnknown; HandlerRaised and HandlerEndedTransaction, after which the call is in doubt and may be made
        again at once.
        """
        intent = self._announce(inbound, handler)
        try:
            return self._make(inbound, handler, intent, caller)
        except LeaseLost:
            raise Unwritten(self._stored_instead(inbound)) from None
        except (Unwritten, StoreUnavailable):
            raise
        except Exception:
            self._give_up(intent)
            raise

    def _announce(self, inbound: Inbound, handler: Handler) -> Intent:
        lease_s = max(self._lease_s, (handler.limits.time_limit_s or 0.0) + LEASE_MARGIN_S)
        with self._transactions.begin() as unit:
            found = self._barrier.intend(unit.connection, inbound.command, lease_s, unit.later)
            if isinstance(found, Answer):
                raise Unwritten(found)
            crash_point("participant.intent.before")
        crash_point("participant.intent.after")
        return found

    def _make(self, inbound: Inbound, handler: Handler, intent: Intent, caller: Caller) -> Answer:
        barrier = self._barrier
        outcome: bytes | Refused
        with LateWorkspace(
            self._transactions.begin, lambda connection: barrier.hold(connection, intent), self._guard
        ) as workspace:
            try:
                outcome = self._runs.run(inbound, handler, intent.run, workspace, caller)
            except ResultTooLarge as refusal:
                # Whoever was called has done it: that we cannot tell its result takes nothing back.
                outcome = Refused(refusal.reason, certain=False)
            except Refused as refusal:
                outcome = refusal
            finally:
                workspace.close()
            crash_point("participant.handler.after")
            unit = workspace.unit
            answer = barrier.conclude(unit.connection, inbound.command, intent, outcome, unit.later)
            unit.messages.append(inbound.reply(answer))
        return answer

    def _stored_instead(self, inbound: Inbound) -> Answer:
        with self._transactions.begin() as unit:
            return self._barrier.standing(unit.connection, inbound.command)

    def _give_up(self, intent: Intent) -> None:
        with self._transactions.begin() as unit:
            self._barrier.give_up(unit.connection, intent)
