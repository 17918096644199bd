"""Publishing to RabbitMQ with pipelined confirms."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

import amqp

from amends.outbox.drivers import amqp_frames as frames
from amends.outbox.drivers.amqp_confirms import InFlight, Pending
from amends.outbox.drivers.amqp_link import BROKEN, HEARTBEAT_CHECK_S, Limits, Link, describe, lost
from amends.outbox.drivers.amqp_topology import SharedTopology, declare
from amends.outbox.drivers.amqp_wire import FLUSH_BYTES
from amends.outbox.drivers.wakeup import Wakeup
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import Fate, Outgoing, Settled, Topology

_TOO_LARGE_CODES: Final = frozenset({311, 406})


class AmqpPublisher:
    """A `Publisher` with a connection and a channel of its own.

    A message that breaks the channel takes with it all that is in flight. The publisher opens a new channel and
    sends these again, one at a time, until one breaks it again: that is the culprit (O4), and only it is
    UNROUTABLE. Then it goes on pipelined.
    """

    def __init__(self, connect: Callable[[int], Link], topology: SharedTopology, limits: Limits) -> None:
        self._connect = connect
        self._topology = topology
        self._limits = limits
        self._wakeup = Wakeup()
        self._woken = False
        self._link: Link | None = None
        self._channel: Any = None
        self._declared = Topology()
        self._backlog: deque[Pending] = deque()
        self._in_flight = InFlight()
        self._suspects = 0  # how many at the front of the backlog must travel alone
        self._alone = False  # whether what is in flight is one of them
        self._answers: list[Settled] = []
        self._failure: BrokerUnavailable | None = None

    @property
    def pending(self) -> int:
        return len(self._backlog) + len(self._in_flight)

    def publish(self, outgoing: Sequence[Outgoing]) -> None:
        try:
            link = self._connected()
            now = monotonic()
            self._backlog.extend(Pending(token, message, now) for token, message in outgoing)
            self._pump(link)
            link.wire.flush()
        except (BrokerUnavailable, *BROKEN) as error:
            self._answers.clear()
            failure = self._lost(error)
            raise failure from failure.__cause__

    def settled(self, timeout_s: float) -> list[Settled]:
        deadline = monotonic() + timeout_s
        try:
            link = self._connected()
            while True:
                self._dispatch(link)
                now = monotonic()
                self._check_blocked(link, now)
                self._pump(link)
                link.wire.flush()
                link.check_heartbeat(now)
                if self._answers or self._woken or now >= deadline:
                    break
                link.wire.wait(min(deadline - now, HEARTBEAT_CHECK_S))
                self._wakeup.clear()
        except (BrokerUnavailable, *BROKEN) as error:
            failure = self._lost(error)
            if not self._answers:
                raise failure from failure.__cause__
            # First what is known for certain; the next call tells that the rest is not.
            self._failure = failure
        self._woken = False
        answers, self._answers = self._answers, []
        return answers

    def wake(self) -> None:
        self._woken = True
        self._wakeup.set()

    def close(self) -> None:
        link = self._link
        self._forget()
        self._answers.clear()
        self._failure = None
        if link is not None:
            link.close()
        self._wakeup.close()

    def _connected(self) -> Link:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        link = self._link
        if link is not None and link.inherited:
            self.close()
            link = None
        if link is None:
            link = self._link = self._connect(self._wakeup.open())
            link.on_confirm = self._on_confirm
            link.on_return = self._on_return
            self._declared = Topology()
        topology = self._topology.all
        if topology is not self._declared:
            declare(link, topology - self._declared)
            self._declared = topology
        if self._channel is None:
            self._open_channel(link)
        return link

    def _open_channel(self, link: Link) -> None:
        self._channel = link.channel()
        with link.answering("asking for confirms"):
            self._channel.confirm_select()

    def _pump(self, link: Link) -> None:
        """Write what may be written now."""
        timestamp_s = int(time.time())
        while self._backlog and link.blocked_since is None:
            if self._alone and self._in_flight:
                return
            self._alone = self._suspects > 0
            if self._alone:
                self._suspects -= 1
            self._write(link, self._backlog.popleft(), timestamp_s)
            if link.wire.unsent_bytes > FLUSH_BYTES:
                self._dispatch(link)

    def _write(self, link: Link, pending: Pending, timestamp_s: int) -> None:
        size = len(pending.message.body)
        try:
            if size > self._limits.message_bytes_max:
                raise frames.Unsendable(
                    f"{size:,} bytes; the driver sends {self._limits.message_bytes_max:,}"
                )
            link.wire.write(
                frames.publish_frames(
                    self._channel.channel_id, pending.message, timestamp_s, link.frame_bytes_max
                )
            )
        except (frames.Unsendable, TypeError, AttributeError) as error:
            # A message whose fields are of other types than they should be is its own fault, too.
            self._answers.append(pending.settled(Fate.TOO_LARGE, monotonic(), str(error)))
            return
        self._in_flight.add(pending)
        link.count_sent()

    def _dispatch(self, link: Link) -> None:
        try:
            link.dispatch()
        except amqp.ChannelError as error:
            # The broker closes whole connections with these codes as well.
            if not link.alive:
                raise
            self._channel_broke(link, error)

    def _channel_broke(self, link: Link, error: amqp.ChannelError) -> None:
        victims = self._in_flight.take_all()
        self._suspects, self._alone = 0, False
        if len(victims) == 1:
            culprit = victims.pop()
            too_large = error.reply_code in _TOO_LARGE_CODES and "size" in describe(error)
            fate = Fate.TOO_LARGE if too_large else Fate.UNROUTABLE
            self._answers.append(culprit.settled(fate, monotonic(), describe(error)))
        else:
            self._suspects = len(victims)
        self._backlog.extendleft(reversed(victims))
        # py-amqp has opened the broken channel anew, without confirms: leave it.
        with link.answering("closing the broken channel"):
            self._channel.close()
        self._open_channel(link)

    def _check_blocked(self, link: Link, now: float) -> None:
        if (
            link.blocked_since is not None
            and self.pending
            and now - link.blocked_since > self._limits.blocked_s
        ):
            raise BrokerUnavailable("the broker blocks its publishers: it is short of memory or disk space")

    def _on_confirm(self, tag: int, multiple: bool, positive: bool) -> None:
        fate = Fate.CONFIRMED if positive else Fate.NACKED
        self._answers += self._in_flight.answer(tag, multiple, fate, monotonic())

    def _on_return(self, method: bytes, properties: frames.Properties, _body: bytes) -> None:
        reason, exchange, routing_key = frames.read_return(method)
        self._in_flight.mark_returned(properties.message_id, exchange, routing_key, reason)

    def _lost(self, error: BaseException) -> BrokerUnavailable:
        link = self._link
        self._forget()
        return lost(link, error)

    def _forget(self) -> None:
        self._link = self._channel = None
        self._backlog.clear()
        self._in_flight.take_all()
        self._suspects, self._alone = 0, False
