"""What is slow, mute or broken holds up nobody else (E4, M6, O4)."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from amends.coordinator import Saga, chain, retry, step
from amends.outbox import put
from amends.outbox.message import Message
from amends.outbox.ports import command_queue
from tests.interleavings.conftest import MakeDatabase, MakeTown
from tests.interleavings.services import Pause, Service, refuse
from tests.interleavings.shop import Shop
from tests.interleavings.town import Town, Trip
from tests.outbox.rows import rows
from tests.waiting import eventually

PAY = Saga("pay-beside", step("charge", to="payments", undo="refund", timeout="60s"), version=1)
PAY_SLOWLY = Saga("pay-slowly", step("charge", to="tortoise", undo="refund", timeout="60s"), version=1)
PAY_SLOWLY_IN_VAIN = Saga(
    "pay-slowly-in-vain",
    chain(
        step("charge", to="tortoise", undo="refund", timeout="60s"), step("notify", to="payments", undo=None)
    ),
    version=1,
)


def trips(town: Town, saga: Saga, count: int) -> list[Trip]:
    """Some sagas of one kind, not started."""
    return [town.trip(saga) for _ in range(count)]


def test_a_blocked_participant_holds_up_no_saga_of_others(
    make_town: MakeTown, make_database: MakeDatabase, participant_template: str
) -> None:
    """E4: its window is full and more is parked. Guard: gate.py: Gate.room counts by queue."""
    town = make_town(window=3).start()
    for name in ("payments", "tortoise"):
        town.add(Service(name, {"charge": "refund"}, make_database(participant_template)), threads=2)
    blocked, running = trips(town, PAY_SLOWLY, 8), Pause()
    for trip in blocked:
        trip.on("tortoise", "charge", running)
        trip.start()
    running.wait()
    others = [trip.start() for trip in trips(town, PAY, 20)]

    for trip in others:
        trip.becomes("completed")

    assert [trip.effects("tortoise") for trip in blocked] == [[]] * len(blocked)
    running.go_on()
    for trip in blocked:
        trip.becomes("completed")


def test_a_participant_busy_with_new_work_compensates_all_the_same(
    make_town: MakeTown, make_database: MakeDatabase, participant_template: str
) -> None:
    """Undos have a queue and threads of their own, and no window (E4). Guard: `undo=` in posting.py: command."""
    town = make_town(window=2).start()
    payments = Service("payments", {"notify": None}, make_database(participant_template))
    town.add(payments)
    town.add(Service("tortoise", {"charge": "refund"}, make_database(participant_template)), threads=1)
    early = town.trip(PAY_SLOWLY_IN_VAIN)
    early.on("payments", "notify", refuse())
    refusal = early.hold("reply", path="notify")
    early.start()
    refusal.wait()
    running = Pause()
    for trip in trips(town, PAY_SLOWLY, 4):
        trip.on("tortoise", "charge", running)
        trip.start()
    running.wait()

    refusal.release()

    early.becomes("compensated")
    assert early.effects("tortoise") == ["charge", "refund"]
    running.go_on()


def test_a_queue_that_never_confirms_holds_up_no_other(
    make_town: MakeTown, make_database: MakeDatabase, participant_template: str
) -> None:
    """O4, M4: it holds up the whole channel until that is given up; while a command is unsent no policy runs.

    Guards: departures.py: Departures.launch probes suspects apart; `timer.unsent` in timing.py: Timing.fire.
    """
    town = make_town(confirm_s=0.4).start()
    for name in ("payments", "tortoise"):
        town.add(Service(name, {"charge": "refund"}, make_database(participant_template)))
    impatient = Saga(
        "pay-impatiently",
        step("charge", to="tortoise", undo="refund", timeout="3s", retry=retry(first="50ms", limit=1)),
        version=1,
    )
    town.network.mute(command_queue(town.prefix, "tortoise", undo=False))
    waiting = [trip.start() for trip in trips(town, impatient, 3)]
    others = [trip.start() for trip in trips(town, PAY, 20)]

    for trip in others:
        trip.becomes("completed")

    held = "SELECT count(*) FROM amends.timer WHERE held_since IS NOT NULL"
    eventually(
        lambda: town.world.value(held) == len(waiting), what="every timeout to find its command unsent"
    )
    assert {town.world.status(trip.id) for trip in waiting} == {"running"}
    town.network.mute()
    for trip in waiting:
        trip.becomes("completed")
        assert trip.effects("tortoise") == ["charge"]


def test_a_missing_exchange_in_the_middle_of_a_batch_holds_up_no_start(
    town: Town, participant_database: Engine
) -> None:
    """O4: it breaks the channel for all that was pipelined with it; only the culprit is parked.

    Guard: `_suspects = len(victims)` in amqp_publisher.py: AmqpPublisher._channel_broke.
    """
    shop = Shop(participant_database, town.network, town.prefix)
    started = trips(town, PAY, 40)
    with Session(shop.database) as session, session.begin():
        for number, trip in enumerate(started):
            shop.client.start(session, PAY, {}, key=trip.key)
            if number == 20:
                put(
                    session, Message(exchange=f"{town.prefix}.nowhere", routing_key="x", type="t", body=b"{}")
                )

    with shop.relaying():
        for trip in started:
            trip.becomes("completed")
        eventually(lambda: len(rows(shop.database)) == 1, what="all but the culprit to go")

    [culprit] = rows(shop.database)
    assert culprit.parked_at is not None
    assert "nowhere" in culprit.last_error
