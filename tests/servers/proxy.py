"""A way to a server that can break at a chosen moment: in the middle of a COMMIT, for one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sqlalchemy.engine import make_url

_CHUNK: Final = 65_536
# A COMMIT as a client says it: `BEGIN ISOLATION LEVEL READ COMMITTED` goes on differently.
COMMIT: Final = b"COMMIT\x00"


class Proxy:
    """Forwards bytes between clients and one server; `cut` breaks a connection, once, when a client says a word."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._cut_at: bytes | None = None
        self._after = b""
        self._forward = False
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where clients connect, on 127.0.0.1."""
        return int(self._listener.getsockname()[1])

    def cut(self, at: bytes, *, forward: bool, after: bytes = b"") -> None:
        """Break the connection on which `at` is said next. `forward`: the server hears it and acts first.

        After a forwarded COMMIT has broken off, the transaction happened; otherwise it did not. With `after`, only
        a connection that has said this since, and no ROLLBACK after it: the COMMIT of one particular transaction.
        """
        with self._lock:
            self._cut_at, self._forward, self._after = at, forward, after

    def cut_all(self) -> None:
        """Break every connection now."""
        with self._lock:
            for end in self._open:
                _shut(end)

    def close(self) -> None:
        """Break everything and take no more."""
        self._closed = True
        _shut(self._listener)
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            broken = threading.Event()
            threading.Thread(target=self._up, args=(client, server, broken), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server, broken), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, broken: threading.Event) -> None:
        said = False
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                said = self._said(data, said)
                if said and self._taken(data):
                    if self._forward:
                        # From now on the server's answers are swallowed; its first one ends the connection.
                        broken.set()
                        server.sendall(data)
                        continue
                    break
                server.sendall(data)
        self._end(client, server)

    def _down(self, client: socket.socket, server: socket.socket, broken: threading.Event) -> None:
        with suppress(OSError):
            while (data := server.recv(_CHUNK)) and not broken.is_set():
                client.sendall(data)
        self._end(client, server)

    def _said(self, data: bytes, before: bool) -> bool:
        """Whether a connection has said what the cut is to come after."""
        with self._lock:
            if self._cut_at is None:
                return False
            return self._after in data or (before and b"ROLLBACK" not in data)

    def _taken(self, data: bytes) -> bool:
        with self._lock:
            if self._cut_at is None or self._cut_at not in data:
                return False
            self._cut_at = None
            return True

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            _shut(end)
        with self._lock:
            self._open -= set(ends)
        for end in ends:
            end.close()


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy to the server of a database or broker URL, and that URL by way of it."""
    target = make_url(url)
    assert target.host is not None
    assert target.port is not None
    proxy = Proxy(target.host, target.port)
    try:
        yield proxy, target.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    finally:
        proxy.close()
