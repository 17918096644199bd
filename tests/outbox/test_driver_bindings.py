"""What both drivers promise of topic exchanges: who gets a copy of what, and when it is confirmed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amends.outbox.broker import open_broker
from amends.outbox.message import Message
from amends.outbox.ports import Binding, Fate, Topology
from amends.outbox.topics import matches, pattern_problem, type_problem
from tests.outbox.driven import Driver
from tests.outbox.driving import empty, outgoing, received, settlements

if TYPE_CHECKING:
    from tests.servers.rabbit import RabbitServer

PATTERNS = (
    "user.created",
    "user.*",
    "*.created",
    "#",
    "user.#",
    "#.created",
    "a.#.b",
    "*",
    "#.*",
    "user.#.#",
)
KEYS = ("user.created", "user", "user.a.created", "created", "a.b", "a.x.y.b", "a.x.b.c", "user.deleted")


@pytest.fixture(params=["rabbitmq", "memory"])
def driver(request: pytest.FixtureRequest, rabbit: RabbitServer, prefix: str) -> Iterator[Driver]:
    url = rabbit.url if request.param == "rabbitmq" else f"memory://{prefix}"
    made = Driver(request.param, open_broker(url), prefix)
    yield made
    for opened in made.opened:
        opened.close()
    made.broker.close()


def bound(driver: Driver, name: str, *patterns: str) -> str:
    """A queue bound to the test's exchange."""
    queue, exchange = f"{driver.prefix}.{name}", f"{driver.prefix}.events"
    bindings = frozenset(Binding(queue, exchange, pattern) for pattern in patterns)
    driver.broker.declare(Topology(frozenset({queue}), frozenset({exchange}), bindings))
    return queue


def event(driver: Driver, key: str) -> Message:
    """An event of this type."""
    return Message(exchange=f"{driver.prefix}.events", routing_key=key, type=key, body=key.encode())


def test_each_queue_gets_one_copy_of_what_its_patterns_take(driver: Driver) -> None:
    """Both drivers against one table: what `matches` says is what RabbitMQ does."""
    queues = {pattern: bound(driver, f"q{number}", pattern) for number, pattern in enumerate(PATTERNS)}
    both = bound(driver, "both", "user.*", "*.created", "#")
    publisher = driver.publisher()
    publisher.publish(outgoing([event(driver, key) for key in KEYS]))

    for pattern, queue in queues.items():
        expected = [key for key in KEYS if matches(pattern, key)]
        consumer = driver.consumer(queue)
        arrived = received(consumer, len(expected))
        assert [one.body.decode() for one in arrived] == expected, pattern
        consumer.ack([one.tag for one in arrived])
        assert empty(consumer, 0.05)
    consumer = driver.consumer(both)
    consumer.ack([one.tag for one in received(consumer, len(KEYS))])
    assert empty(consumer, 0.05)
    assert {one.fate for one in settlements(publisher, len(KEYS))} == {Fate.CONFIRMED}


def test_a_binding_declared_later_is_there_for_the_next_event(driver: Driver) -> None:
    bound(driver, "first", "user.created")
    publisher = driver.publisher()
    publisher.publish(outgoing([event(driver, "user.deleted")]))
    settlements(publisher, 1)

    later = bound(driver, "first", "user.deleted")
    publisher.publish(outgoing([event(driver, "user.deleted")], first=2))

    (arrived,) = received(driver.consumer(later), 1)
    assert arrived.type == "user.deleted"


def test_in_the_process_an_event_is_confirmed_when_every_copy_is_dealt_with(prefix: str) -> None:
    driver = Driver("memory", open_broker(f"memory://{prefix}"), prefix)
    one, other = bound(driver, "one", "#"), bound(driver, "other", "#")
    publisher = driver.publisher()
    publisher.publish(outgoing([event(driver, "user.created")]))
    first, second = driver.consumer(one), driver.consumer(other)
    (copy,), (another,) = received(first, 1), received(second, 1)

    first.ack([copy.tag])
    first.receive(0)
    assert publisher.settled(0.05) == []
    second.requeue([another.tag])
    (another,) = received(second, 1)
    assert publisher.settled(0.05) == []
    second.ack([another.tag])

    assert [answer.fate for answer in settlements(publisher, 1)] == [Fate.CONFIRMED]
    for opened in driver.opened:
        opened.close()
    driver.broker.close()


def by_trying(pattern: list[str], words: list[str]) -> bool:
    """Whether a pattern takes these words, found out by trying every length for each `#`."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(by_trying(pattern[1:], words[count:]) for count in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and by_trying(pattern[1:], words[1:])


@given(
    st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=6),
    st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=6),
)
def test_a_pattern_takes_what_trying_everything_finds(pattern: list[str], words: list[str]) -> None:
    assert matches(".".join(pattern), ".".join(words)) == by_trying(pattern, words)


def test_what_is_no_type_and_no_pattern_is_told() -> None:
    for bad in ("", ".", "user.", "user..created", "us er", "user.*", "#", "ü", "a" * 256):
        assert type_problem(bad), bad
    for bad in ("", ".", "user.", "user.**", "us*er", "user.#x", "a b"):
        assert pattern_problem(bad), bad
    for good in itertools.chain(KEYS, ("com.example/user:created-v2",)):
        assert type_problem(good) is None
    for good in PATTERNS:
        assert pattern_problem(good) is None
