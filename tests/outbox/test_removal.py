"""Queues and exchanges of one run can be taken away, and tell what they still held."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from amends.outbox.broker import open_broker
from amends.outbox.message import Message
from amends.outbox.ports import Outgoing, Settled, Topology
from amends.outbox.removal import remove
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually


@pytest.fixture(params=["memory", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield f"memory://{uuid4().hex}"
        return
    server: RabbitServer = request.getfixturevalue("rabbit")
    yield server.url


def test_a_removed_queue_tells_how_many_messages_it_held(broker_url: str, rabbit: RabbitServer) -> None:
    run = f"t{uuid4().hex[:10]}"
    topology = Topology(
        queues=frozenset({f"{run}.full", f"{run}.empty"}), exchanges=frozenset({f"{run}.events"})
    )
    broker = open_broker(broker_url)
    broker.declare(topology)
    publisher = broker.publisher()
    publisher.publish(
        [Outgoing(n, Message(routing_key=f"{run}.full", type="t", body=b"{}")) for n in range(3)]
    )
    if not broker_url.startswith("memory"):  # There a message is confirmed only once it is consumed.
        confirmed: list[Settled] = []
        eventually(
            lambda: confirmed.extend(publisher.settled(0.1)) or len(confirmed) == 3, what="three confirms"
        )

    held = remove(broker_url, topology)

    assert held == {f"{run}.full": 3, f"{run}.empty": 0}
    assert rabbit.queues(f"{run}.") == []
    publisher.close()
    broker.close()


def test_what_does_not_exist_counts_as_empty(broker_url: str) -> None:
    name = f"t{uuid4().hex[:10]}.never"

    assert remove(broker_url, Topology(queues=frozenset({name}), exchanges=frozenset({name}))) == {name: 0}
