"""Looking at queues: who consumes, what nobody has taken; the same for RabbitMQ and the broker in the process."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from amends.outbox.broker import open_broker
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import Broker, QueueState
from tests.outbox.driven import Driver
from tests.outbox.driving import message, outgoing, received
from tests.servers.rabbit import RabbitServer
from tests.waiting import DEADLINE_S, eventually

PATIENCE_S = DEADLINE_S


@pytest.fixture(params=["rabbitmq", "memory"])
def driver(request: pytest.FixtureRequest, rabbit: RabbitServer, prefix: str) -> Iterator[Driver]:
    url = rabbit.url if request.param == "rabbitmq" else f"memory://{prefix}"
    made = Driver(request.param, open_broker(url), prefix)
    yield made
    for opened in made.opened:
        opened.close()
    made.broker.close()


def state(broker: Broker, queue: str) -> QueueState | None:
    return broker.look([queue], timeout_s=PATIENCE_S)[queue]


def test_a_queue_tells_its_consumers_and_what_nobody_has_taken(driver: Driver) -> None:
    queue = driver.queue()
    driver.publisher().publish(outgoing([message(queue), message(queue), message(queue)]))
    eventually(lambda: state(driver.broker, queue) == QueueState(consumers=0, ready=3), what="three messages")

    consumer = driver.consumer(queue, prefetch=2)
    received(consumer, 2)

    eventually(lambda: state(driver.broker, queue) == QueueState(consumers=1, ready=1), what="one left")


def test_a_queue_that_is_not_there_is_none_and_the_others_are_told(driver: Driver) -> None:
    queue, missing = driver.queue(), f"{driver.prefix}.missing"
    driver.consumer(queue).receive(0.1)

    found = driver.broker.look([missing, queue, f"{missing}.too"], timeout_s=PATIENCE_S)

    assert found == {missing: None, f"{missing}.too": None, queue: QueueState(consumers=1, ready=0)}


def test_looking_makes_no_queue(driver: Driver) -> None:
    missing = f"{driver.prefix}.missing"

    assert [state(driver.broker, missing) for _ in range(2)] == [None, None]


def test_a_broker_that_is_away_is_told_within_the_time(prefix: str) -> None:
    away = open_broker("pyamqp://nobody:nothing@127.0.0.1:9//")
    began = time.monotonic()

    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1"):
        away.look([prefix], timeout_s=1.0)

    assert time.monotonic() - began < PATIENCE_S
