"""A real HTTP server on loopback that does with each request what it is told: it answers, hangs, breaks off, drips."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

Act = Callable[["Handler"], None]
_DRIP_S: Final = 0.05


@dataclass(frozen=True)
class Request:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes


class Service(ThreadingHTTPServer):
    """`acts` are taken one for each request; the last one stays."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *acts: Act) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.acts = list(acts)
        self.requests: list[Request] = []
        self.connections = 0
        self.closing = threading.Event()

    @property
    def base(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.server_port}"

    def get_request(self) -> Any:
        """Count the connections."""
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is ordinary here."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Service

    def do_POST(self) -> None:
        """Record the request and do the next act."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Request(self.path, headers, body))
        act = self.server.acts.pop(0) if len(self.server.acts) > 1 else self.server.acts[0]
        act(self)

    def log_message(self, *_: Any) -> None:
        """Not on the terminal."""

    def send(self, raw: bytes) -> None:
        """Bytes as they are."""
        self.wfile.write(raw)
        self.wfile.flush()


def answer(status: int, body: bytes = b"", **headers: str) -> Act:
    """An orderly answer; `_` in a header's name stands for `-`."""

    def act(handler: Handler) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        handler.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return act


def hang(handler: Handler) -> None:
    """Say nothing until the server closes."""
    handler.server.closing.wait()
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """Send a header that never ends, a byte at a time: no single read takes long."""
    handler.send(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not handler.server.closing.wait(_DRIP_S):
        handler.send(b".")


def break_off(handler: Handler) -> None:
    """Promise a hundred bytes, send seven and close."""
    handler.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"paid"')
    handler.close_connection = True


def twice(first: bytes, second: bytes) -> Act:
    """Two answers to one request, in one piece."""

    def act(handler: Handler) -> None:
        each = [
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(one), one) for one in (first, second)
        ]
        handler.send(b"".join(each))

    return act


def endless(handler: Handler) -> None:
    """A body without a length and without an end."""
    handler.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
    while not handler.server.closing.is_set():
        handler.send(b"1," * 32_768)


@contextmanager
def serving(*acts: Act) -> Iterator[Service]:
    """Run such a server until the block ends."""
    service = Service(*acts)
    thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.closing.set()
        service.shutdown()
        service.server_close()
        thread.join()
