"""Dead letters: copies of messages that nobody could deal with, each with what was wrong and where it came from.

A copy holds all that its original had, up to the size of any message, so that it can be given back to its queue once
the cause is mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal

from amends.outbox.errors import BrokerUnavailable
from amends.outbox.limits import BODY_BYTES_MAX, MESSAGE_ID_BYTES_MAX
from amends.outbox.message import CONTENT_TYPE, HEADER_CONTENT_TYPE, HeaderValue, Message, new_message_id
from amends.outbox.ports import Broker, Consumer, Delivery, Fate, Outgoing, Topology, dead_letter_queue

HEADER_REASON: Final = "amends-reason"
HEADER_QUEUE: Final = "amends-queue"
HEADER_TRUNCATED: Final = "amends-truncated-from"  # bytes, in text
HEADER_FAULT: Final = "amends-fault"  # it must not be believed, such as for its signature
BEGINNING_BYTES: Final = 64 * 1024  # of a body that is larger than any message may be

_REASON_CHARS_MAX: Final = 2_000
_HEADERS_MAX: Final = 50
_CHARS_MAX: Final = 255
_OWN: Final = frozenset({HEADER_REASON, HEADER_QUEUE, HEADER_TRUNCATED, HEADER_FAULT})
_IDLE_S: Final = 0.5
_CONFIRM_S: Final = 30.0

# What becomes of a letter: it stays, it goes back to its queue, or it is gone.
Verdict = Literal["keep", "replay", "drop"]


def dead_letter(delivery: Delivery, reason: str, *, prefix: str, without: Iterable[str] = ()) -> Message:
    """The copy for the dead-letter queue. `without` are headers that it must not carry on."""
    headers = _kept(delivery.headers, {*_OWN, *without})
    headers |= {HEADER_REASON: reason[:_REASON_CHARS_MAX], HEADER_QUEUE: delivery.queue}
    if delivery.content_type and delivery.content_type != CONTENT_TYPE:
        headers[HEADER_CONTENT_TYPE] = delivery.content_type[:_CHARS_MAX]
    if delivery.fault:
        headers[HEADER_FAULT] = delivery.fault[:_CHARS_MAX]
    whole = len(delivery.body) <= BODY_BYTES_MAX
    if not whole:
        headers[HEADER_TRUNCATED] = str(len(delivery.body))
    return Message(
        routing_key=dead_letter_queue(prefix),
        type=delivery.type[:60],
        body=delivery.body if whole else delivery.body[:BEGINNING_BYTES],
        message_id=_message_id(delivery),
        correlation_id=delivery.correlation_id[:60] or None,
        reply_to=delivery.reply_to[:60] or None,
        headers=headers,
    )


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it lies in its queue."""

    delivery: Delivery

    @property
    def id(self) -> str:
        """The message id."""
        return self.delivery.message_id

    @property
    def reason(self) -> str:
        """What was wrong with it."""
        return self.delivery.fault or str(self.delivery.headers.get(HEADER_REASON) or "")

    @property
    def queue(self) -> str:
        """Where it came from; empty if it does not say."""
        return str(self.delivery.headers.get(HEADER_QUEUE) or "")

    @property
    def truncated(self) -> bool:
        """Whether only the beginning of its body is left."""
        return HEADER_TRUNCATED in self.delivery.headers

    @property
    def fault(self) -> str:
        """Why its original was not believed, or the letter itself is not; empty if it was."""
        return self.delivery.fault or str(self.delivery.headers.get(HEADER_FAULT) or "")

    @property
    def unreplayable(self) -> str:
        """What keeps it from going back; empty if nothing does."""
        if self.truncated:
            return "only the beginning of its body was kept"
        return "" if self.queue else "it does not say which queue it came from"

    def original(self) -> Message:
        """The message as it was, for its queue."""
        return self._copy(self.queue, _kept(self.delivery.headers, _OWN))

    def again(self, dead_letters: str) -> Message:
        """The letter as it is, for the queue's end."""
        headers = _kept(self.delivery.headers, frozenset())
        if self.fault:
            # The copy will bear our signature: what was not believed must stay so.
            headers[HEADER_FAULT] = self.fault[:_CHARS_MAX]
        return self._copy(dead_letters, headers)

    def _copy(self, to: str, headers: dict[str, HeaderValue]) -> Message:
        one = self.delivery
        if one.content_type and one.content_type != CONTENT_TYPE:
            headers[HEADER_CONTENT_TYPE] = one.content_type
        return Message(
            routing_key=to,
            type=one.type,
            body=one.body,
            message_id=_message_id(one),
            correlation_id=one.correlation_id or None,
            reply_to=one.reply_to or None,
            headers=headers,
        )


@dataclass(frozen=True, slots=True)
class Sorted:
    """How many letters were seen, and which of them the broker did not take where they were to go: these stayed."""

    seen: int
    unsent: tuple[Letter, ...]


class DeadLetterBox:
    """The dead letters of one prefix, on RabbitMQ. Not for two at once: each would see only a part of them."""

    def __init__(self, broker: Broker, prefix: str) -> None:
        self._broker = broker
        self._queue = dead_letter_queue(prefix)

    def sort(self, decide: Callable[[Letter], Verdict], *, letters_max: int) -> Sorted:
        """Look at up to `letters_max` letters, oldest first, and do with each as `decide` says.

        What stays goes to the end of the queue as a new copy: a broker counts how often a message was handed out, and
        may drop it in the end. A letter is acknowledged only once its copy is confirmed: who is killed in here leaves a
        letter twice, never none. Raises: BrokerUnavailable.
        """
        self._broker.declare(Topology(queues=frozenset({self._queue})))
        with self._consumed(letters_max) as consumer:
            letters = self._taken(consumer, letters_max)
            tags = {}
            outgoing = []
            for letter in letters:
                verdict = decide(letter)
                if verdict == "drop":
                    consumer.ack([letter.delivery.tag])
                    continue
                message = letter.again(self._queue) if verdict == "keep" else letter.original()
                tags[letter.delivery.tag] = letter
                outgoing.append(Outgoing(letter.delivery.tag, message))
            for tag, fate in self._sent(consumer, outgoing):
                if fate is Fate.CONFIRMED:
                    consumer.ack([tag])
                    del tags[tag]
            consumer.receive(0.0)  # Sends the acknowledgements.
            return Sorted(len(letters), tuple(tags.values()))

    @contextmanager
    def _consumed(self, prefetch: int) -> Iterator[Consumer]:
        consumer = self._broker.consumer([self._queue], prefetch=prefetch)
        try:
            yield consumer
        finally:
            consumer.close()

    def _taken(self, consumer: Consumer, letters_max: int) -> list[Letter]:
        """As many letters as there were, up to so many."""
        there = self._broker.look([self._queue], timeout_s=_CONFIRM_S)[self._queue]
        wanted = min(letters_max, there.ready if there is not None else 0)
        found: list[Letter] = []
        until = monotonic() + _CONFIRM_S
        while len(found) < wanted and monotonic() < until:
            found += [Letter(one) for one in consumer.receive(_IDLE_S)]
        return found

    def _sent(self, consumer: Consumer, outgoing: list[Outgoing]) -> Iterator[tuple[int, Fate]]:
        """What the broker said of each; nothing of those it said nothing of."""
        if not outgoing:
            return
        publisher = self._broker.publisher()
        try:
            publisher.publish(outgoing)
            until = monotonic() + _CONFIRM_S
            while publisher.pending:
                if monotonic() > until:
                    raise BrokerUnavailable("the broker did not confirm; what it has not stays where it was")
                yield from ((one.token, one.fate) for one in publisher.settled(_IDLE_S))
                consumer.receive(0.0)  # Answers heartbeats.
        finally:
            publisher.close()


def _kept(headers: Mapping[str, object], without: Iterable[str]) -> dict[str, HeaderValue]:
    """What a copy carries on: short texts, not what a broker wrote."""
    dropped = set(without)
    kept: dict[str, HeaderValue] = {
        name: value
        for name, value in headers.items()
        if isinstance(value, str)
        and len(name) <= _CHARS_MAX
        and (len(value) <= _CHARS_MAX or name == HEADER_REASON)
        and not name.startswith("x-")
        and name not in dropped
    }
    return dict(list(kept.items())[:_HEADERS_MAX])


def _message_id(delivery: Delivery) -> str:
    fits = 0 < len(delivery.message_id.encode()) <= MESSAGE_ID_BYTES_MAX
    return delivery.message_id if fits else new_message_id()
