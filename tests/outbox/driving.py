"""Driving a publisher and a consumer in a test: collect until a number is reached, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from amends.outbox.errors import BrokerUnavailable
from amends.outbox.message import Message
from amends.outbox.ports import Consumer, Delivery, Fate, Outgoing, Publisher, Settled
from tests.waiting import DEADLINE_S

T = TypeVar("T")


def message(queue: str, body: bytes = b"{}", **properties: Any) -> Message:
    """A message for the queue of that name."""
    return Message(**{"routing_key": queue, "type": "test.message", "body": body, **properties})


def outgoing(messages: Sequence[Message], first: int = 1) -> list[Outgoing]:
    """Messages under the tokens first, first + 1 ..."""
    return [Outgoing(first + number, one) for number, one in enumerate(messages)]


def received(consumer: Consumer, count: int, deadline_s: float = DEADLINE_S) -> list[Delivery]:
    """Exactly so many deliveries."""
    deliveries: list[Delivery] = []
    deadline = time.monotonic() + deadline_s
    while len(deliveries) < count and time.monotonic() < deadline:
        deliveries += consumer.receive(0.5)
    assert len(deliveries) == count, f"{len(deliveries)} of {count} deliveries came within {deadline_s:g} s"
    return deliveries


def settlements(publisher: Publisher, count: int, deadline_s: float = DEADLINE_S) -> list[Settled]:
    """Exactly so many answers."""
    answers: list[Settled] = []
    deadline = time.monotonic() + deadline_s
    while len(answers) < count and time.monotonic() < deadline:
        answers += publisher.settled(0.5)
    assert len(answers) == count, f"{len(answers)} of {count} answers came within {deadline_s:g} s"
    return answers


def confirmed(publisher: Publisher, messages: Sequence[Message], deadline_s: float = DEADLINE_S) -> None:
    """Publish, and return when the broker has them all; what it refuses for now is published again.

    RabbitMQ nacks what comes while it is still making the queue, and without confirms it would drop it.
    """
    deadline = time.monotonic() + deadline_s
    waiting = dict(enumerate(messages))
    publisher.publish(outgoing(messages, first=0))
    while waiting:
        assert time.monotonic() < deadline, f"{len(waiting)} of {len(messages)} confirms missing"
        for answer in publisher.settled(0.5):
            if answer.fate is Fate.NACKED:
                publisher.publish([Outgoing(answer.token, waiting[answer.token])])
                continue
            assert answer.fate is Fate.CONFIRMED, f"{answer.fate}: {answer.reason}"
            del waiting[answer.token]


def fates(answers: Sequence[Settled]) -> dict[int, Fate]:
    """Token to fate; no token has two."""
    found = {answer.token: answer.fate for answer in answers}
    assert len(found) == len(answers)
    return found


def empty(consumer: Consumer, for_s: float = 0.3) -> bool:
    """Whether nothing comes for a while."""
    return consumer.receive(for_s) == []


def unavailable(attempt: Callable[[], object], deadline_s: float = DEADLINE_S) -> BrokerUnavailable:
    """Repeat until it raises BrokerUnavailable; the error."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        try:
            attempt()
        except BrokerUnavailable as error:
            return error
    raise AssertionError(f"the broker was available for {deadline_s:g} s")


def once_available(attempt: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
    """Repeat while it raises BrokerUnavailable; its first answer."""
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            return attempt()
        except BrokerUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
