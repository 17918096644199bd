"""A TCP proxy that can be told to misbehave, and to speak TLS to the client."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from types import TracebackType

from tests.waiting import DEADLINE_S


class Proxy:
    """Forwards 127.0.0.1:`port` to a server. `hold()` keeps every byte back, `release()` lets them go again,
    `cut()` ends the connections there are. `passed_bytes` counts what went to clients, `taken_bytes` what came from
    them.

    `chunk_bytes` is how much it passes to the client at a time: 1 cuts every frame into single bytes.
    With `tls` the client's side is encrypted; the server's is not.
    """

    def __init__(
        self, host: str, port: int, *, chunk_bytes: int = 65_536, tls: ssl.SSLContext | None = None
    ) -> None:
        self._server = (host, port)
        self._chunk_bytes = chunk_bytes
        self._tls = tls
        self.passed_bytes = 0
        self.taken_bytes = 0
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def cut(self) -> None:
        while self._sockets:
            _end(self._sockets.pop())

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.set()
        _end(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
                self._sockets.append(client)
            server = socket.create_connection(self._server)
        except OSError:
            client.close()
            return
        self._sockets.append(server)
        self._start(self._pass, client, server, 65_536)
        self._pass(server, client, self._chunk_bytes)

    def _pass(self, source: socket.socket, sink: socket.socket, chunk_bytes: int) -> None:
        try:
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := source.recv(65_536):
                for start in range(0, len(data), chunk_bytes):
                    self._open.wait()
                    sink.sendall(data[start : start + chunk_bytes])
                    if source.getpeername() == self._server:
                        self.passed_bytes += min(chunk_bytes, len(data) - start)
                    else:
                        self.taken_bytes += min(chunk_bytes, len(data) - start)
        except OSError:
            return
        finally:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)

    def _start(self, work: object, *arguments: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


def _end(sock: socket.socket) -> None:
    """`close` alone does not wake a thread that waits in `accept` or `recv`."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
