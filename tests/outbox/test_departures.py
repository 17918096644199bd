"""Destinations that do not confirm, and brokers whose confirms may take for ever."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.outbox.backoff import Backoff, after
from amends.outbox.broker import open_broker
from amends.outbox.destinations import Destinations
from amends.outbox.ports import Broker
from tests.outbox.relaying import quick, relaying
from tests.outbox.rows import ids, message, one, stored
from tests.outbox.sending import arrived, never_idle, nothing_arrives, offered, started
from tests.outbox.watching import WatchedBroker
from tests.waiting import eventually

HERE, THERE = message(1, "here"), message(2, "there")


def test_a_destination_is_suspect_until_it_answers() -> None:
    destinations = Destinations(confirm_s=30)
    destinations.failed([HERE], now=100)

    assert destinations.suspects(HERE)
    assert not destinations.suspects(THERE)
    assert destinations.wait_s(HERE, now=100) == pytest.approx(0.5)
    assert destinations.wait_s(HERE, now=101) == 0

    destinations.answered(HERE)
    assert not destinations.suspects(HERE)


def test_probes_of_a_mute_destination_become_rarer_and_more_patient() -> None:
    destinations = Destinations(confirm_s=30)
    waits, patience = [], []
    for _ in range(8):
        destinations.failed([HERE, HERE], now=0)
        waits.append(destinations.wait_s(HERE, now=0))
        patience.append(destinations.patience_s(HERE))

    assert waits == [0.5, 1, 2, 4, 8, 15, 15, 15]
    assert patience == [2, 4, 8, 16, 30, 30, 30, 30]


def test_back_off_doubles_up_to_its_limit_and_begins_anew() -> None:
    backoff = Backoff(0.1, 5.0)

    delays = [backoff.next_s() for _ in range(100)]
    backoff.reset()

    assert [after(n, 0.1, 5.0) for n in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert all(0.8 * after(n, 0.1, 5.0) <= delay <= after(n, 0.1, 5.0) for n, delay in enumerate(delays))
    assert backoff.next_s() <= 0.1


@pytest.mark.parametrize("way", ["sweep", "memory"])
def test_where_a_confirm_waits_for_its_consumer_no_message_is_overdue(
    way: str, sqlite_database: Engine
) -> None:
    """Else a consumer that is slow would get every message again and again.

    Guards: `confirms_when_consumed` in Departures, and `_in_hand` in Sweep, whose lease runs out meanwhile.
    """
    database, broker = sqlite_database, open_broker(f"memory://{uuid4()}")
    limits = quick(confirm_s=0.1, lease_s=0.3)
    with (
        relaying(database, broker, "t", "slow", limits=limits) as relay,
        started(database, broker, limits=never_idle(confirm_s=0.1)) as sender,
    ):
        if way == "sweep":
            [row] = stored(database, [message(1, "slow")])
            first = eventually(lambda: one(database, row.id).leased_until, what="the lease")
            eventually(lambda: one(database, row.id).leased_until > first, what="the lease to be renewed")
            assert relay.status().in_flight == 1
        else:
            [row] = offered(database, sender, [message(1, "slow")])
            [probe] = stored(database, [message(2, "other")])
            eventually(lambda: one(database, probe.id).attempts == 2, what="a second to pass")
            assert one(database, row.id).owner == sender.owner

        arrived(broker, "slow", 1)
        assert nothing_arrives(broker, "slow")
        sender.stop()
        eventually(lambda: row.id not in ids(database), what="the row to go")


def test_what_is_not_confirmed_in_time_is_handed_back(
    participant_database: Engine, broker: Broker, prefix: str, tmp_path: Path
) -> None:
    """O4: unspent. Guard: Departures.unanswered."""
    database, queue = participant_database, f"{prefix}.queue"
    watched = WatchedBroker(broker)
    with relaying(database, watched, prefix, queue, limits=quick(confirm_s=0.3)) as relay:
        eventually(lambda: relay.status().broker_up, what="the connection")
        watched.deaf = True
        [row] = stored(database, [message(1, queue)])
        eventually(lambda: one(database, row.id).last_error, what="the row to be handed back")
        assert "mute" in one(database, row.id).last_error
        assert one(database, row.id).attempts == 0

        watched.deaf = False
        eventually(lambda: ids(database) == [], what="the row to go")
