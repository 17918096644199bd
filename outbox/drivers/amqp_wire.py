"""Bytes to and from the broker: a socket that never blocks, plain or TLS, cut into frames.

py-amqp reads a frame with three `recv` and, asked not to wait, spins on one that has arrived in part. Here one
`recv` takes what there is, and writes are gathered until `flush`.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
from struct import Struct
from time import monotonic
from typing import Final

RECEIVE_BYTES_MAX: Final = 262_144
FLUSH_BYTES: Final = 262_144

_FRAME: Final = Struct(">BHI")
_FRAME_END: Final = 0xCE
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Frame = tuple[int, int, bytes]  # type, channel, payload


class Wire:
    """One connected socket. `patience_s` is how long a write may wait for the broker to take any byte."""

    def __init__(self, sock: socket.socket, wakeup_fd: int, patience_s: float) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._patience_s = patience_s
        self._received = b""
        self._at = 0
        self._unsent = bytearray()
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._readable.register(wakeup_fd, select.POLLIN)
        self._answer = select.poll()
        self._answer.register(sock, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(sock, select.POLLIN | select.POLLOUT)

    @property
    def unsent_bytes(self) -> int:
        """How much is gathered and not flushed."""
        return len(self._unsent)

    def write(self, frames: bytes) -> None:
        """Gather for the next `flush`."""
        self._unsent += frames

    def flush(self) -> None:
        """Send all that is gathered. Raises: OSError, also when the broker takes nothing for `patience_s`."""
        if not self._unsent:
            return
        unsent, self._unsent = self._unsent, bytearray()
        sent = 0
        with memoryview(unsent) as view:
            while sent < len(view):
                try:
                    sent += self._sock.send(view[sent : sent + FLUSH_BYTES])
                except _NOT_NOW:
                    self._wait_to_send()

    def fill(self) -> bool:
        """Take what has arrived; False if nothing has. Raises: OSError when the broker has hung up."""
        try:
            chunk = self._sock.recv(RECEIVE_BYTES_MAX)
        except _NOT_NOW:
            return False
        if not chunk:
            raise ConnectionResetError("the broker closed the connection")
        self._received = self._received[self._at :] + chunk if self._at < len(self._received) else chunk
        self._at = 0
        return True

    def next_frame(self) -> Frame | None:
        """The next whole frame among the bytes taken, if there is one. Raises: OSError for what is no frame."""
        received, at = self._received, self._at
        if len(received) - at < 8:
            return None
        kind, channel, size = _FRAME.unpack_from(received, at)
        end = at + 7 + size
        if len(received) <= end:
            return None
        if received[end] != _FRAME_END:
            raise ConnectionAbortedError("the broker sent what is no AMQP frame")
        self._at = end + 1
        return kind, channel, received[at + 7 : end]

    def wait(self, timeout_s: float) -> None:
        """Return when bytes have arrived, on a wake-up, or after `timeout_s`."""
        self._readable.poll(_milliseconds(timeout_s))

    def wait_readable(self, timeout_s: float) -> None:
        """Return when bytes have arrived, or after `timeout_s`; a wake-up is left for `wait`."""
        self._answer.poll(_milliseconds(timeout_s))

    def _wait_to_send(self) -> None:
        """Wait until the broker takes bytes again; take its own meanwhile, lest each wait for the other."""
        deadline = monotonic() + self._patience_s
        while True:
            ready = self._writable.poll(_milliseconds(deadline - monotonic()))
            if not ready:
                raise TimeoutError(f"the broker took no bytes for {self._patience_s:g} s")
            if ready[0][1] & ~select.POLLOUT:
                self.fill()
            if ready[0][1] & select.POLLOUT:
                return


def _milliseconds(seconds: float) -> int:
    return math.ceil(max(seconds, 0.0) * 1000)
