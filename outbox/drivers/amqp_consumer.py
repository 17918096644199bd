"""Consuming from RabbitMQ."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, sleep
from typing import Any, Final

import amqp

from amends.outbox.drivers import amqp_frames as frames
from amends.outbox.drivers.amqp_acks import Unsettled
from amends.outbox.drivers.amqp_link import BROKEN, HEARTBEAT_CHECK_S, Link, lost
from amends.outbox.drivers.amqp_topology import SharedTopology, declare
from amends.outbox.drivers.wakeup import Wakeup
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import Delivery, Topology

DELIVERY_COUNT_HEADER = "x-delivery-count"

# RabbitMQ answers a second declaration of a quorum queue while it is still making the queue for the first, and closes
# the connection that consumes in between with an internal error.
_QUEUE_IN_THE_MAKING_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4)


class AmqpConsumer:
    """A `Consumer` with a connection and a channel of its own; `prefetch` counts for each queue by itself.

    RabbitMQ counts the deliveries of a channel from 1; callers see these tags plus how many came on earlier
    connections, so that a tag is never used again.
    """

    def __init__(
        self, connect: Callable[[int], Link], topology: SharedTopology, queues: Sequence[str], prefetch: int
    ) -> None:
        self._connect = connect
        self._topology = topology
        self._queues = {f"{number}": queue for number, queue in enumerate(dict.fromkeys(queues))}
        self._prefetch = prefetch
        self._wakeup = Wakeup()
        self._woken = False
        self._link: Link | None = None
        self._channel: Any = None
        self._channel_id = 0
        self._declared = Topology()
        self._earlier = 0  # deliveries on earlier connections
        self._unsettled = Unsettled()
        self._arrived: list[Delivery] = []
        self._lock = threading.Lock()  # guards the list below
        self._gathered: list[tuple[bool, list[int]]] = []  # whether to requeue, and what

    def receive(self, timeout_s: float) -> list[Delivery]:
        deadline = monotonic() + timeout_s
        try:
            link = self._consuming()
            while True:
                self._send_settled(link)
                link.dispatch()
                now = monotonic()
                link.check_heartbeat(now)
                if self._arrived or self._woken or now >= deadline:
                    break
                link.wire.wait(min(deadline - now, HEARTBEAT_CHECK_S))
                self._wakeup.clear()
        except (BrokerUnavailable, *BROKEN) as error:
            failure = self._lost(error)
            raise failure from failure.__cause__
        self._woken = False
        arrived, self._arrived = self._arrived, []
        return arrived

    def ack(self, tags: Iterable[int]) -> None:
        self._gather(False, tags)

    def requeue(self, tags: Iterable[int]) -> None:
        self._gather(True, tags)

    def wake(self) -> None:
        self._woken = True
        self._wakeup.set()

    def close(self) -> None:
        link = self._link
        if link is not None:
            try:
                if not link.inherited:
                    self._send_settled(link)
                    link.wire.flush()
                link.close()
            except BROKEN:
                # The broker takes back what these acknowledgements were for, and delivers it again.
                link.abandon()
        self._forget()
        self._wakeup.close()

    def _gather(self, requeue: bool, tags: Iterable[int]) -> None:
        batch = list(tags)
        with self._lock:
            self._gathered.append((requeue, batch))
        self._wakeup.set()

    def _consuming(self) -> Link:
        """The link; a new one is opened again while somebody else's declaration of its queues is under way."""
        if self._link is None:
            for pause_s in _QUEUE_IN_THE_MAKING_PAUSES_S:
                try:
                    return self._connected()
                except amqp.InternalError as error:
                    self._lost(error)
                    sleep(pause_s)
        return self._connected()

    def _connected(self) -> Link:
        link = self._link
        if link is not None and link.inherited:
            self.close()
            link = None
        if link is None:
            link = self._link = self._connect(self._wakeup.open())
            link.on_deliver = self._on_deliver
            self._declared = Topology()
        topology = self._topology.all
        if topology is not self._declared:
            declare(link, topology - self._declared)
            self._declared = topology
        if self._channel is None:
            self._consume(link)
        return link

    def _consume(self, link: Link) -> None:
        channel = self._channel = link.channel()
        self._channel_id = channel.channel_id
        with link.answering("setting the prefetch"):
            channel.basic_qos(0, self._prefetch, False)
        for consumer_tag, queue in self._queues.items():
            with link.answering(f"consuming from queue {queue!r}"):
                channel.basic_consume(queue, consumer_tag)

    def _on_deliver(self, method: bytes, properties: frames.Properties, body: bytes) -> None:
        consumer_tag, tag, redelivered = frames.read_deliver(method)
        self._unsettled.delivered(tag)
        headers = properties.headers or {}
        count = headers.get(DELIVERY_COUNT_HEADER) if headers else None
        self._arrived.append(
            Delivery(
                tag=self._earlier + tag,
                queue=self._queues[consumer_tag],
                body=body,
                type=properties.type,
                message_id=properties.message_id,
                correlation_id=properties.correlation_id,
                reply_to=properties.reply_to,
                content_type=properties.content_type,
                content_encoding=properties.content_encoding,
                headers=headers,
                redelivered=redelivered,
                delivery_count=count if isinstance(count, int) else int(redelivered),
                size_bytes=len(body),
                expiration=properties.expiration,
            )
        )

    def _send_settled(self, link: Link) -> None:
        """Write the acknowledgements that were gathered; those of earlier connections are void."""
        if not self._gathered:
            return
        with self._lock:
            gathered, self._gathered = self._gathered, []
        earlier, channel, write = self._earlier, self._channel_id, link.wire.write
        settled = self._unsettled.settle(
            (requeue, [tag - earlier for tag in tags if tag > earlier]) for requeue, tags in gathered
        )
        for tag in settled.requeue:
            write(frames.requeue_frame(channel, tag))
        if settled.ack_up_to is not None:
            write(frames.ack_frame(channel, settled.ack_up_to, multiple=True))
        for tag in settled.ack:
            write(frames.ack_frame(channel, tag, multiple=False))
        link.count_sent()

    def _lost(self, error: BaseException) -> BrokerUnavailable:
        link = self._link
        self._forget()
        return lost(link, error)

    def _forget(self) -> None:
        self._link = self._channel = None
        self._arrived.clear()
        self._earlier += self._unsettled.last
        self._unsettled = Unsettled()
