"""Which published messages the broker has not answered for. Pure bookkeeping: no I/O, no clock."""

from __future__ import annotations

from typing import NamedTuple

from amends.outbox.message import Message
from amends.outbox.ports import Fate, Settled


class Pending(NamedTuple):
    """A message on its way, since `published_at` (monotonic seconds)."""

    token: int
    message: Message
    published_at: float

    def settled(self, fate: Fate, now: float, reason: str = "") -> Settled:
        """The answer for this message."""
        return Settled(self.token, fate, reason, now - self.published_at)


class InFlight:
    """The unconfirmed messages of one channel, under the tags 1, 2, 3 ... that the broker counts as well.

    A return names no tag, and comes before its ack. It is matched by message id and destination; if the same
    message is on its way there several times, all of these copies count as returned: which one was, nobody can
    tell, and taking one for confirmed could lose it.
    """

    def __init__(self) -> None:
        self._by_tag: dict[int, Pending] = {}
        self._returned: dict[int, str] = {}
        self._last = 0
        self._lowest = 1  # no tag below is in flight

    def __len__(self) -> int:
        return len(self._by_tag)

    def add(self, pending: Pending) -> None:
        """The next message published on the channel."""
        self._last += 1
        self._by_tag[self._last] = pending

    def answer(self, tag: int, multiple: bool, fate: Fate, now: float) -> list[Settled]:
        """The broker confirmed or refused this tag, with `multiple` all up to it as well.

        A tag that is not in flight is ignored: its message was given up before.
        """
        tags = range(self._lowest, min(tag, self._last) + 1) if multiple else (tag,)
        settled = [
            self._settled(one, pending, fate, now)
            for one in tags
            if (pending := self._by_tag.pop(one, None)) is not None
        ]
        if multiple:
            self._lowest = max(self._lowest, min(tag, self._last) + 1)
        return settled

    def mark_returned(self, message_id: str, exchange: str, routing_key: str, reason: str) -> None:
        """The broker had no queue for this message; its ack will follow."""
        for tag, pending in self._by_tag.items():
            message = pending.message
            if (
                message.message_id == message_id
                and message.routing_key == routing_key
                and message.exchange == exchange
            ):
                self._returned[tag] = reason

    def take_all(self) -> list[Pending]:
        """The channel broke: all that was in flight, in order. Tags start at 1 again."""
        pending = list(self._by_tag.values())
        self._by_tag.clear()
        self._returned.clear()
        self._last, self._lowest = 0, 1
        return pending

    def _settled(self, tag: int, pending: Pending, fate: Fate, now: float) -> Settled:
        reason = self._returned.pop(tag, None) if self._returned else None
        if reason is None:
            return pending.settled(fate, now, "" if fate is Fate.CONFIRMED else "the broker refused it")
        return pending.settled(Fate.RETURNED, now, reason)
