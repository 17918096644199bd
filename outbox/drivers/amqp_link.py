"""One connection to RabbitMQ: kombu and py-amqp shake hands and manage channels, the hot frames pass by hand.

One thread owns a link. Nothing here waits without a limit.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import amqp
from amqp.method_framing import frame_writer
from kombu.connection import Connection as ConnectionInfo
from kombu.transport import pyamqp

from amends.outbox.drivers import amqp_frames as frames
from amends.outbox.drivers.amqp_url import Address
from amends.outbox.drivers.amqp_wire import Frame, Wire
from amends.outbox.errors import BrokerUnavailable

HEARTBEAT_CHECK_S: Final = 1.0
CLOSE_S: Final = 2.0

# What py-amqp raises when a connection is lost; AttributeError and KeyError when it is lost at a bad moment.
BROKEN: Final = (amqp.AMQPError, OSError, struct.error, AttributeError, KeyError)

ContentHandler = Callable[[bytes, frames.Properties, bytes], None]
ConfirmHandler = Callable[[int, bool, bool], None]  # tag, multiple, positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How patient the driver is, and how much it sends. Times in seconds."""

    connect_s: float = 5.0
    answer_s: float = 10.0  # for the broker to answer a declaration
    write_s: float = 5.0  # for the broker to take any byte
    heartbeat_s: float = 20.0
    blocked_s: float = 10.0  # then a blocked publisher counts as unavailable
    message_bytes_max: int = 16_777_216


class _Connection(pyamqp.Connection):
    """py-amqp's connection, which reads and writes through a `Wire` once it is open."""

    link: Link | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, frame_writer=_writer_of, **options)

    def connect(self, callback: Any = None) -> Any:
        try:
            return super().connect(callback)
        except BaseException:
            # py-amqp leaves the socket open when it is refused in the middle of the handshake.
            self.collect()
            raise

    def blocking_read(self, timeout: float | None = None) -> Any:
        if self.link is None:
            return super().blocking_read(timeout)
        return self.on_inbound_frame(self.link.next_foreign_frame())


class _Transport(pyamqp.Transport):
    Connection = _Connection


class _Tap:
    """Where py-amqp's frame writer writes."""

    def __init__(self, connection: _Connection, transport: Any) -> None:
        self._connection = connection
        self._transport = transport

    def write(self, data: memoryview | bytes) -> None:
        link = self._connection.link
        if link is None:
            self._transport.write(data)
        else:
            link.wire.write(bytes(data))
            link.wire.flush()


def _writer_of(connection: _Connection, transport: Any) -> Any:
    return frame_writer(connection, _Tap(connection, transport))


class Link:
    """An open connection.

    `on_deliver` and `on_return` get the method frame, properties and body of every such content; `on_confirm`
    gets tag, `multiple`, and True for an ack, False for a nack.
    """

    def __init__(self, connection: _Connection, wakeup_fd: int, limits: Limits) -> None:
        self.wire = Wire(connection.sock, wakeup_fd, limits.write_s)
        self.frame_bytes_max: int = connection.frame_max
        self.on_deliver: ContentHandler | None = None
        self.on_return: ContentHandler | None = None
        self.on_confirm: ConfirmHandler | None = None
        self.blocked_since: float | None = None
        self._connection = connection
        self._process = os.getpid()
        self._answer_s = limits.answer_s
        self._deadline: float | None = None
        self._request = ""
        self._checked_at = monotonic()
        self._contents: dict[int, _Content] = {}
        connection.link = self
        connection.on_blocked = self._blocked
        connection.on_unblocked = self._unblocked

    @property
    def alive(self) -> bool:
        """Whether the connection still stands; a channel error leaves it standing."""
        return bool(self._connection.connected)

    @property
    def inherited(self) -> bool:
        """Whether it belongs to the process this one was forked from, which goes on using it."""
        return self._process != os.getpid()

    def channel(self) -> Any:
        """A new channel of py-amqp's."""
        with self.answering("opening a channel"):
            return self._connection.channel()

    @contextmanager
    def answering(self, request: str = "a request") -> Iterator[None]:
        """The broker must answer within the limit, else TimeoutError, which names the request."""
        self._deadline = monotonic() + self._answer_s
        self._request = request
        try:
            yield
        finally:
            self._deadline = None

    def dispatch(self) -> None:
        """Send what is gathered and handle all that has arrived, without waiting."""
        self.wire.flush()
        while True:
            while (frame := self.wire.next_frame()) is not None:
                if not self._handled(frame):
                    self._connection.on_inbound_frame(frame)
            if not self.wire.fill():
                return

    def next_foreign_frame(self) -> Frame:
        """Wait for the next frame that is py-amqp's business. Raises: TimeoutError."""
        deadline = self._deadline or monotonic() + self._answer_s
        while True:
            while (frame := self.wire.next_frame()) is not None:
                if not self._handled(frame):
                    return frame
            if not self.wire.fill():
                remaining_s = deadline - monotonic()
                if remaining_s <= 0:
                    raise TimeoutError(f"{self._request}: no answer within {self._answer_s:g} s")
                self.wire.wait_readable(remaining_s)

    def count_sent(self) -> None:
        """Tell the heartbeat that we wrote something."""
        self._connection.bytes_sent += 1

    def check_heartbeat(self, now: float) -> None:
        """Once a second: send a heartbeat if one is due. Raises: AMQPError if the broker's stay away."""
        if now - self._checked_at >= HEARTBEAT_CHECK_S:
            self._checked_at = now
            self._connection.heartbeat_tick()

    def forget_content(self, channel: int) -> None:
        """A channel broke: what it was in the middle of will not be completed."""
        self._contents.pop(channel, None)

    def close(self) -> None:
        """Take leave of the broker; all that was sent before is read by it."""
        if self.inherited or self.blocked_since is not None:
            # The farewell would be the other process's, or one that the broker does not read.
            self.abandon()
            return
        self._answer_s = CLOSE_S
        # The broker may be gone: then there is nobody to take leave of.
        with suppress(*BROKEN), self.answering("closing"):
            self._connection.close()
        self.abandon()

    def abandon(self) -> None:
        """Close the socket, whatever state it is in."""
        if self.inherited:
            # py-amqp would shut the connection down, for both processes.
            self._connection.sock.close()
            return
        # py-amqp's own clean-up stumbles over what is already gone.
        with suppress(*BROKEN):
            self._connection.collect()

    def _handled(self, frame: Frame) -> bool:
        kind, channel, payload = frame
        if kind == frames.METHOD:
            method = payload[:4]
            if method == frames.ACK or method == frames.NACK:
                if self.on_confirm is not None:
                    tag, multiple = frames.read_confirm(payload)
                    self.on_confirm(tag, multiple, method == frames.ACK)
            elif method == frames.DELIVER or method == frames.RETURN:
                self._contents[channel] = _Content(payload)
            else:
                return False
        elif kind in (frames.HEADER, frames.BODY) and channel in self._contents:
            content = self._contents[channel]
            if kind == frames.HEADER:
                content.header(payload)
            else:
                content.body(payload)
            if content.missing_bytes <= 0:
                del self._contents[channel]
                self._complete(content)
        else:
            return False
        self._connection.bytes_recv += 1
        return True

    def _complete(self, content: _Content) -> None:
        handler = self.on_deliver if content.method[:4] == frames.DELIVER else self.on_return
        if handler is not None:
            handler(content.method, content.properties, b"".join(content.chunks))

    def _blocked(self, _reason: str) -> None:
        self.blocked_since = monotonic()

    def _unblocked(self) -> None:
        self.blocked_since = None


class _Content:
    """A method frame whose header and body are arriving."""

    __slots__ = ("chunks", "method", "missing_bytes", "properties")

    def __init__(self, method: bytes) -> None:
        self.method = method
        self.missing_bytes = 1
        self.properties = frames.Properties()
        self.chunks: list[bytes] = []

    def header(self, payload: bytes) -> None:
        self.missing_bytes, self.properties = frames.read_header(payload)

    def body(self, payload: bytes) -> None:
        self.chunks.append(payload)
        self.missing_bytes -= len(payload)


def connect(addresses: Sequence[Address], limits: Limits, name: str, wakeup_fd: int) -> Link:
    """Connect to the first host that lets us in. Raises: BrokerUnavailable, naming each host and its reason."""
    failures = []
    for address in addresses:
        try:
            return Link(_shake_hands(address, limits, name), wakeup_fd, limits)
        except (*BROKEN, ValueError) as error:
            failures.append(f"{address}: {describe(error)}")
    raise BrokerUnavailable(f"no broker at {'; '.join(failures)}")


def lost(link: Link | None, error: BaseException) -> BrokerUnavailable:
    """Leave a link that broke; what to raise, with its cause."""
    if link is not None:
        link.abandon()
    if isinstance(error, BrokerUnavailable):
        return error
    unavailable = BrokerUnavailable(f"the connection to the broker broke: {describe(error)}")
    unavailable.__cause__ = error
    return unavailable


def describe(error: BaseException) -> str:
    """An error in words, also one that has none."""
    return str(error) or type(error).__name__


def _shake_hands(address: Address, limits: Limits, name: str) -> _Connection:
    info: Any = ConnectionInfo(  # type: ignore[no-untyped-call]
        hostname=address.host,
        port=address.port,
        userid=address.user,
        password=address.password,
        virtual_host=address.virtual_host,
        # The class, not a name: `amqp` would be librabbitmq where that is installed.
        transport=_Transport,
        login_method="PLAIN",
        ssl=_ssl_options(address),
        connect_timeout=limits.connect_s,
        heartbeat=limits.heartbeat_s,
        transport_options={
            "client_properties": {"connection_name": name},
            "socket_settings": _socket_settings(limits),
        },
    )
    connection: _Connection = info.transport.establish_connection()
    return connection


def _ssl_options(address: Address) -> dict[str, Any] | bool:
    if address.tls is None:
        return False
    options = {
        # py-amqp checks the certificate's host name only if it is told one.
        "server_hostname": address.host,
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": address.tls.cacertfile,
        "certfile": address.tls.certfile,
        "keyfile": address.tls.keyfile,
    }
    return {name: value for name, value in options.items() if value is not None}


def _socket_settings(limits: Limits) -> dict[int, int]:
    """py-amqp gives a peer one second to acknowledge bytes, which a blocked or busy broker exceeds."""
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        return {}
    return {socket.TCP_USER_TIMEOUT: int(2 * limits.heartbeat_s * 1000)}
