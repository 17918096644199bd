"""COMMITs whose outcome is not known, and which happened or did not (O2, O3): nothing lost, nothing told wrongly.

A proxy in front of PostgreSQL breaks the connection at the one COMMIT that matters. Timeouts are a minute, so what
goes on within seconds goes on without them, and what is published once was not told before it was known.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from amends.coordinator import Saga, chain, step
from amends.db.engines import open_engine
from amends.outbox.storage import Resend
from amends.outbox.store import OutboxStore
from amends.outbox.wire import Op
from amends.participants import Ctx
from tests.doors.house import House
from tests.interleavings.conftest import databases, towns
from tests.interleavings.services import Act, Pause, Service
from tests.interleavings.shop import Shop
from tests.interleavings.town import Town
from tests.outbox.relaying import quick
from tests.outbox.rows import ids, outbox, owner, rows
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import COMMIT, Proxy, proxy_to
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

TWICE = Saga(
    "commit-twice",
    chain(
        step("charge", to="payments", undo="refund", timeout="60s"),
        step("notify", to="payments", undo=None, timeout="60s"),
    ),
    version=1,
)
HAPPENED = pytest.mark.parametrize("happened", [True, False], ids=["happened", "did-not"])


@dataclass(frozen=True)
class Cuttable:
    """A town whose coordinator and payments reach their databases by proxies."""

    town: Town
    coordinator: Proxy
    payments: Proxy

    def drains(self) -> None:
        """Until neither outbox has anything left to send or to delete."""
        database = self.town.services["payments"].database
        eventually(lambda: self.town.world.drained() and not ids(database), what="the outboxes to be empty")


@pytest.fixture(scope="module")
def cuttable(
    postgres: PostgresServer, rabbit: RabbitServer, coordinator_template: str, participant_template: str
) -> Iterator[Cuttable]:
    """One for this module: tests cut one COMMIT each."""
    with (
        databases(postgres) as make_database,
        towns(rabbit, make_database, coordinator_template) as make_town,
        ExitStack() as ends,
    ):

        def by_proxy(template: str) -> tuple[Proxy, Engine]:
            direct = make_database(template).url.render_as_string(hide_password=False)
            proxy, url = ends.enter_context(proxy_to(direct))
            engine = open_engine(url)
            ends.callback(engine.dispose)
            return proxy, engine

        coordinator, coordinators = by_proxy(coordinator_template)
        payments, theirs = by_proxy(participant_template)
        town = make_town(coordinators).start()
        ends.callback(town.close)
        town.add(Service("payments", {"charge": "refund", "notify": None}, theirs))
        yield Cuttable(town, coordinator, payments)


def cutting(proxy: Proxy, saga: str, *, happened: bool) -> Act:
    """Before a handler returns: break the next COMMIT of a transaction that speaks of this saga."""

    def act(ctx: Ctx) -> object:
        proxy.cut(COMMIT, after=saga.encode(), forward=happened)
        return None

    return act


@HAPPENED
def test_a_coordinators_commit_of_unknown_outcome_is_decided_by_redelivery_and_sweep(
    cuttable: Cuttable, caplog: pytest.LogCaptureFixture, happened: bool
) -> None:
    """The batch that took a reply and sent the next command.

    Guards, in deciding.py: `renew_owner` (the rows that appear would have a living owner), `later` (the reply would be
    acknowledged, or never come again), and that nothing is offered.
    """
    trip = cuttable.town.trip(TWICE)
    trip.on("payments", "charge", cutting(cuttable.coordinator, trip.id, happened=happened))

    trip.start()

    trip.becomes("completed")
    assert "commit_unknown" in caplog.messages
    assert len(trip.sent("command", path="notify")) == 1
    assert trip.effects("payments") == ["charge", "notify"]
    assert trip.replays()
    cuttable.drains()


@HAPPENED
def test_a_workers_commit_of_unknown_outcome_is_decided_by_redelivery_and_sweep(
    cuttable: Cuttable, caplog: pytest.LogCaptureFixture, happened: bool
) -> None:
    """Barrier row, effect and reply: all or nothing.

    Guards: `renew_owner` in transactions.py: Transactions.begin; StoreUnavailable in execution.py: Execution._settled.
    """
    trip = cuttable.town.trip(TWICE)
    trip.on("payments", "charge", cutting(cuttable.payments, trip.id, happened=happened))

    trip.start()

    trip.becomes("completed")
    assert "database_away" in caplog.messages
    assert len(trip.calls("payments", "charge")) == (1 if happened else 2)
    # The sweep finds the reply that happened; the command that came again is answered with the same (M1).
    assert {one.outcome for one in trip.sent("reply", path="charge")} == {"done"}
    assert trip.effects("payments") == ["charge", "notify"]
    cuttable.drains()


@HAPPENED
def test_a_senders_delete_of_unknown_outcome_is_repeated(
    cuttable: Cuttable, caplog: pytest.LogCaptureFixture, happened: bool
) -> None:
    """Forgotten is a confirmed row only once its delete is known to have committed (O2).

    Guard: `give_back` in settling.py: Settling.settle.
    """
    cuttable.drains()
    trip, running = cuttable.town.trip(TWICE), Pause()
    trip.on("payments", "charge", running)
    cuttable.coordinator.cut(COMMIT, after=b"DELETE FROM amends.outbox", forward=happened)

    trip.start()
    running.wait()

    eventually(lambda: "outbox_settle_failed" in caplog.messages, what="the sender to delete and not to know")
    eventually(cuttable.town.world.drained, what="the row to go")
    running.go_on()
    trip.becomes("completed")
    assert [one.op for one in trip.sent("command")] == [Op.DO, Op.DO]


@HAPPENED
def test_a_start_over_http_whose_commit_is_unknown_is_safely_repeated(
    cuttable: Cuttable, caplog: pytest.LogCaptureFixture, happened: bool
) -> None:
    """S2: the door says that it does not know; the client asks again under the same key.

    Guard: CommitUnknown in deciding.py: Decider._carry (the door would be told of a saga that may not be there).
    """
    trip = cuttable.town.trip(TWICE)
    house = House(cuttable.town.world)
    client = Shop(cuttable.town.world.database, cuttable.town.network, "", url=house.server.url).client
    cuttable.coordinator.cut(COMMIT, after=trip.id.encode(), forward=happened)

    started = client.start_http(TWICE, {}, key=trip.key)

    house.close()
    assert "commit_unknown" in caplog.messages
    assert started == trip.id
    trip.becomes("completed")
    assert trip.effects("payments") == ["charge", "notify"]
    assert len(trip.sent("command")) == 2


# What the transaction says, and what is logged when its outcome is not known.
RELAYS_COMMITS = {
    "claim": (b"SET due_at = now() + $", "database_lost"),
    "mark-sent": (b"sent_at = now()", "database_lost"),
    "receive": (b"o.message_id = r.message_id", "receipts_database_lost"),
}


@HAPPENED
@pytest.mark.parametrize("statement", RELAYS_COMMITS)
def test_a_relays_commit_of_unknown_outcome_loses_and_repeats_nothing(
    cuttable: Cuttable,
    participant_database: Engine,
    caplog: pytest.LogCaptureFixture,
    statement: str,
    happened: bool,
) -> None:
    """Claimed or not, sent or not, received or not: the row goes out once, and is gone in the end.

    Guards: what is kept until `transaction` is left in outcomes.py: Outcomes.write; `ack` after the transaction in
    receipts.py: Receipts._take.
    """
    trip = cuttable.town.trip(TWICE)
    shop = Shop(participant_database, cuttable.town.network, cuttable.town.prefix)
    with Session(shop.database) as session, session.begin():
        shop.client.start(session, TWICE, {}, key=trip.key)
    says, logged = RELAYS_COMMITS[statement]
    [start] = rows(shop.database)
    receipt = cuttable.town.network.hold("receipt", message_id=start.message_id)
    # Nothing is sent a second time within this test: what was lost would stay lost.
    store = OutboxStore(outbox, owner, resend=Resend(first_s=60))

    with proxy_to(shop.database.url.render_as_string(hide_password=False)) as (proxy, url):
        proxy.cut(COMMIT, after=says, forward=happened)
        by_proxy = open_engine(url)
        with shop.relaying(by_proxy, store=store, limits=quick(lease_s=3)):
            # Its receipt deletes the row whatever was written before: let that be written first.
            eventually(lambda: rows(shop.database)[0].sent_at, what="the row to be marked sent")
            receipt.open()
            trip.becomes("completed")
            shop.drains()
        by_proxy.dispose()

    assert logged in caplog.messages
    assert len(trip.sent("start")) == 1
    assert trip.effects("payments") == ["charge", "notify"]
