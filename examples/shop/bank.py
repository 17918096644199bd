"""The payment gateway's own side: a small HTTP server on loopback that can be switched off and on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

DECLINED: Final = "0000"


class Bank:
    """Its ledger, by idempotency key. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._standing: dict[str, int] = {}
        self._void: set[str] = set()
        self.url = ""
        self.is_down = False
        self.turned_away = 0

    def answer(self, path: str, asked: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        """An HTTP status and what is said with it."""
        with self._lock:
            if self.is_down:
                self.turned_away += 1
                return 503, {}
            if path == "/total" or asked is None:
                return 200, {"cents": sum(self._standing.values())}
            key = asked["key"]
            if path == "/voids":
                self._void.add(key)
                self._standing.pop(key, None)
            elif asked["card"] == DECLINED:
                return 402, {"reason": "card declined"}
            elif key in self._void:
                return 402, {"reason": "voided"}
            else:
                self._standing[key] = asked["cents"]
            return 200, {}

    def total(self) -> int:
        """The cents that stand."""
        with self._lock:
            return sum(self._standing.values())


@contextmanager
def open_bank() -> Iterator[Bank]:
    """A gateway that listens until the block ends."""
    bank = Bank()

    class Counter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*bank.answer(self.path, None))

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(*bank.answer(self.path, asked))

        def _answer(self, status: int, said: dict[str, Any]) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Nothing: the example tells what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Counter)
    server.daemon_threads = True
    bank.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield bank
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
