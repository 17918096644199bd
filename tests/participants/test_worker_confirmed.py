"""What the broker has confirmed is deleted by one of the worker's transactions: by one that commits (O2)."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from amends.outbox.ports import Broker
from amends.participants.worker.transactions import Transactions
from tests.outbox.rows import STORE, ids, message
from tests.outbox.sending import never_idle, offered, started
from tests.waiting import eventually


def test_a_transaction_that_fails_at_its_commit_leaves_confirmed_rows_to_the_next(
    participant_database: Engine, broker: Broker, prefix: str
) -> None:
    """A handler's deferred constraint fails that late. Guard: `give_back` in Transactions.begin."""
    queue = f"{prefix}.queue"
    with participant_database.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE strict (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with started(
        participant_database, broker, queue, crash_scope="participant", limits=never_idle()
    ) as sender:
        transactions = Transactions(participant_database, STORE, sender)
        offered(participant_database, sender, [message(1, queue)])
        eventually(lambda: sender._holdings.confirmed_since() is not None, what="the confirm")

        with pytest.raises(IntegrityError), transactions.begin() as unit:
            unit.connection.exec_driver_sql("INSERT INTO strict VALUES (1), (1)")
        assert len(ids(participant_database)) == 1

        def committed() -> bool:
            with transactions.begin():
                return ids(participant_database) == []

        eventually(committed, what="a later transaction to have deleted the row")
