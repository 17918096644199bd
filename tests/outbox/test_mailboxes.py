"""Mailboxes of both drivers: a queue that comes and goes with its connection."""

from __future__ import annotations

import pytest

from amends.outbox.broker import open_broker
from amends.outbox.message import HEADER_OPTIONAL, Message
from amends.outbox.ports import Broker, Fate, Outgoing
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually


@pytest.fixture(params=["amqp", "memory"])
def either(request: pytest.FixtureRequest, rabbit: RabbitServer) -> Broker:
    """Each driver's broker."""
    return open_broker(rabbit.url if request.param == "amqp" else "memory://mailboxes")


def to(address: str, *, optional: bool = False) -> Message:
    """A message to a mailbox."""
    return Message(
        routing_key=address, type="t", body=b"{}", headers={HEADER_OPTIONAL: "yes"} if optional else {}
    )


def test_a_mailbox_gets_what_is_sent_to_its_address_until_it_closes(either: Broker, prefix: str) -> None:
    """Guard: `Message.mandatory`; without HEADER_OPTIONAL what is sent to a closed one is RETURNED, as the last one."""
    mailbox, publisher = either.mailbox(f"{prefix}.calls", prefetch=10), either.publisher()
    assert mailbox.address == ""
    mailbox.receive(0.0)
    first = mailbox.address

    publisher.publish([Outgoing(1, to(first))])
    delivery = eventually(lambda: mailbox.receive(0.1), what="the message")[0]
    mailbox.ack([delivery.tag])
    mailbox.receive(0.0)
    assert [one.fate for one in eventually(lambda: publisher.settled(0.1))] == [Fate.CONFIRMED]
    mailbox.close()
    assert mailbox.address == ""

    def gone() -> bool:
        publisher.publish([Outgoing(2, to(first))])
        return eventually(lambda: publisher.settled(0.1))[0].fate is Fate.RETURNED

    eventually(gone, what="the queue to go")
    publisher.publish([Outgoing(3, to(first, optional=True))])
    assert [one.fate for one in eventually(lambda: publisher.settled(0.1))] == [Fate.CONFIRMED]
    mailbox.receive(0.0)
    assert mailbox.address not in ("", first)
    mailbox.close()
    publisher.close()
