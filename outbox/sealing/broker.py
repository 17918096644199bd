"""A broker whose messages are sealed when they leave and opened when they arrive."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from time import monotonic
from typing import Final

from amends.outbox.backoff import Backoff
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import (
    Broker,
    Consumer,
    Delivery,
    Fate,
    Mailbox,
    Outgoing,
    Publisher,
    QueueState,
    Settled,
    Topology,
)
from amends.outbox.sealing.codec import CodecUnavailable
from amends.outbox.sealing.seal import CannotSeal, Seal

log = logging.getLogger(__name__)

_AGAIN_FIRST_S: Final = 0.2
_AGAIN_LONGEST_S: Final = 10.0


class SealedBroker:
    """As the broker inside; every publisher closes messages with the seal, every consumer opens them."""

    def __init__(self, inside: Broker, seal: Seal) -> None:
        self._inside = inside
        self._seal = seal

    @property
    def confirms_when_consumed(self) -> bool:
        return self._inside.confirms_when_consumed

    def declare(self, topology: Topology) -> None:
        self._inside.declare(topology)

    def publisher(self) -> Publisher:
        return SealingPublisher(self._inside.publisher(), self._seal)

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> Consumer:
        return OpeningConsumer(self._inside.consumer(queues, prefetch=prefetch), self._seal)

    def mailbox(self, name: str, *, prefetch: int) -> Mailbox:
        return OpeningMailbox(self._inside.mailbox(name, prefetch=prefetch), self._seal)

    def look(self, queues: Collection[str], *, timeout_s: float) -> dict[str, QueueState | None]:
        return self._inside.look(queues, timeout_s=timeout_s)

    def close(self) -> None:
        self._inside.close()


class SealingPublisher:
    """Closes each message. One whose body cannot be coded is settled as its own fault (O4)."""

    def __init__(self, inside: Publisher, seal: Seal) -> None:
        self._inside = inside
        self._seal = seal
        self._faulty: list[Settled] = []

    @property
    def pending(self) -> int:
        return self._inside.pending + len(self._faulty)

    def publish(self, outgoing: Sequence[Outgoing]) -> None:
        closed = []
        for token, message in outgoing:
            try:
                closed.append(Outgoing(token, self._seal.closed(message)))
            except CannotSeal as error:
                self._faulty.append(Settled(token, Fate.TOO_LARGE, str(error)))
            except CodecUnavailable as error:
                # As if the broker were away: nothing has left, all of it is tried again after a pause.
                self._faulty.clear()
                raise BrokerUnavailable(f"the codec of message bodies is away: {error}") from error
        if closed:
            self._inside.publish(closed)

    def settled(self, timeout_s: float) -> list[Settled]:
        faulty, self._faulty = self._faulty, []
        return faulty + self._inside.settled(0.0 if faulty else timeout_s)

    def wake(self) -> None:
        self._inside.wake()

    def close(self) -> None:
        self._faulty.clear()
        self._inside.close()


class OpeningConsumer:
    """Opens each delivery. Those whose codec is away wait here, unacknowledged, and are tried again after a pause."""

    def __init__(self, inside: Consumer, seal: Seal) -> None:
        self._inside = inside
        self._seal = seal
        self._waiting: deque[Delivery] = deque()
        self._backoff = Backoff(_AGAIN_FIRST_S, _AGAIN_LONGEST_S)
        self._again_at = 0.0

    def receive(self, timeout_s: float) -> list[Delivery]:
        if self._waiting:
            timeout_s = min(timeout_s, max(0.0, self._again_at - monotonic()))
        try:
            arrived = self._inside.receive(timeout_s)
        except BrokerUnavailable:
            self._waiting.clear()  # The broker has taken them back.
            raise
        self._waiting.extend(arrived)
        return self._opened() if monotonic() >= self._again_at else []

    def ack(self, tags: Iterable[int]) -> None:
        self._inside.ack(tags)

    def requeue(self, tags: Iterable[int]) -> None:
        self._inside.requeue(tags)

    def wake(self) -> None:
        self._inside.wake()

    def close(self) -> None:
        self._waiting.clear()
        self._inside.close()

    def _opened(self) -> list[Delivery]:
        opened: list[Delivery] = []
        while self._waiting:
            try:
                one = self._seal.opened(self._waiting[0])
            except CodecUnavailable as error:
                wait_s = self._backoff.next_s()
                self._again_at = monotonic() + wait_s
                log.warning("codec_away", extra={"error": str(error), "again_in_s": wait_s})
                return opened
            self._waiting.popleft()
            if one.fault:
                log.warning(
                    "message_refused",
                    extra={"queue": one.queue, "message_id": one.message_id[:60], "reason": one.fault},
                )
            opened.append(one)
        self._backoff.reset()
        return opened


class OpeningMailbox(OpeningConsumer):
    """A mailbox whose messages are opened."""

    def __init__(self, inside: Mailbox, seal: Seal) -> None:
        super().__init__(inside, seal)
        self._mailbox = inside

    @property
    def address(self) -> str:
        return self._mailbox.address
