"""Servers and participants go away while 1,000 sagas run: nothing is lost or wrongly undone, all ends by itself."""

from __future__ import annotations

import pytest

from amends.db.private_postgres import PrivatePostgres
from tests.faults.patience import answered_first, answered_orders, served_orders
from tests.faults.town import Town, assert_all_hold, town
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import PrivateRabbit, RabbitServer
from tests.waiting import eventually

SAGAS = 1_000
PATIENT = 300
BLOCKED = 50
HURRIED = SAGAS - PATIENT - BLOCKED
PROBED_WAITS = 3  # commands sent to a participant that is down, while its breaker is open: probes


def some_ended(place: Town, more: int, deadline_s: float = 120) -> None:
    """Let some more sagas end, so that what follows strikes in the middle of work."""
    wanted = min(place.ended() + more, place.placed)
    eventually(
        lambda: place.ended() >= wanted, deadline_s, what=f"{wanted} sagas to have ended: {place.tails()}"
    )


@pytest.mark.timeout(600)
def test_the_broker_is_stopped_blocked_and_wiped(
    postgres: PostgresServer, private_rabbit: PrivateRabbit
) -> None:
    """Invariant 16: every queue and message may go. O1: starts stay until received. O4: a blocked broker pauses.

    The first sagas are patient: what the broker confirmed, no timer need send again. Guards: a blocked or a written
    message is not confirmed (AmqpPublisher.settled, Sender._landed), a start waits for its receipt
    (Outcomes.confirmed), and receipts leave after the commit (Decider._after_commit).
    """
    with town(postgres.url, private_rabbit.url, "outage", answered_first()) as place:
        place.start_all()
        place.place(PATIENT, patient=True)
        some_ended(place, 50)

        private_rabbit.stop()
        private_rabbit.start()
        some_ended(place, 50)

        place.end("payments")
        place.place(BLOCKED, patient=True)
        eventually(lambda: place.awaited("charge") >= BLOCKED // 2, 60, what="cards to be charged")
        private_rabbit.block()
        place.start("payments")
        eventually(
            lambda: place.unconfirmed_s("payments") > 3, 60, what="replies that nothing but a row keeps"
        )
        private_rabbit.kill()
        private_rabbit.start()
        place.wait_until_ended(120)

        place.end("coordinator")
        place.place(HURRIED)
        eventually(lambda: place.starts_sent() >= HURRIED, 60, what="starts that only the broker holds")
        place.start("coordinator", crash_at="coordinator.commit.before")
        eventually(lambda: not place.running("coordinator"), 60, what="it to die over the first of them")
        private_rabbit.wipe()
        place.end("coordinator")
        place.start("coordinator")
        some_ended(place, 100)

        private_rabbit.wipe()
        place.wait_until_ended(240)

        assert_all_hold(place.verdicts())


@pytest.mark.timeout(600)
def test_postgresql_is_killed_and_a_participant_stays_down(
    private_postgres: PrivatePostgres, rabbit: RabbitServer, prefix: str
) -> None:
    """E5: whoever meets a database that is away waits, and neither exits nor spins. M6: down undoes nothing.

    A participant is down for longer than all its timeouts (2 s each, retried within the second). Guard: open breakers
    in Gate.held, without which commands go on being sent.
    """
    orders = served_orders()
    with town(private_postgres.url(), rabbit.url, prefix, orders) as place:
        place.start_all()
        place.place(len(orders))
        some_ended(place, 100)

        private_postgres.kill()
        private_postgres.start()
        place.forget_connections()
        some_ended(place, 100)

        place.end("payments", kill=True)
        eventually(lambda: place.probes("payments.do") >= 1, what="its open breaker to be probed")
        before = place.charges_sent()
        eventually(lambda: place.probes("payments.do") >= 2, what="its open breaker to be probed again")
        assert place.charges_sent() - before <= PROBED_WAITS
        assert place.given_up() == 0
        place.start("payments")
        place.wait_until_ended(240)

        for name in ("coordinator", "inventory", "shipping", "relay"):
            assert place.running(name), f"{name} exited: {place.tails()[name]}"
        assert_all_hold(place.verdicts())


@pytest.mark.timeout(600)
def test_two_of_everything_work_on_the_same_sagas(
    postgres: PostgresServer, rabbit: RabbitServer, prefix: str
) -> None:
    """E3, B1, B8: no leader, no owner of a saga; of each pair one is killed in mid-run, or told to stop.

    The sagas are patient: whoever stops hands back what it took. Guards: Lane._work and Decider.run acknowledge
    nothing that they did not do.
    """
    pairs = ("coordinator-2", "inventory-2", "payments-2", "shipping-2", "relay-2")
    with town(postgres.url, rabbit.url, prefix, answered_orders()) as place:
        place.start_all(*pairs)
        place.place(120, patient=True)
        some_ended(place, 30)
        for name in pairs:
            place.end(name, kill=True)
        for name in ("inventory", "coordinator", "payments"):
            place.place(60, patient=True)
            eventually(lambda: place.awaited("reserve") >= 20, 60, what="work to stop in the midst of")
            place.end(name)
            place.start(name)
        place.wait_until_ended(240)

        assert_all_hold(place.verdicts())
