"""The billing service: nothing of amends, nothing but the standard library. `python billing.py PORT_FILE KEY_FILE`.

What it owes the saga: one effect for each idempotency key, however often it is posted; a refund names the key that it
voids, and a charge under a voided key is refused, also one that comes later.

To show what happens then, it hangs up after every third new charge without a word: it has charged, and nobody knows.
"""

from __future__ import annotations

import hmac
import json
import sqlite3
import sys
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY = Path(sys.argv[2]).read_bytes().strip()
STALE_S = 300
RICHEST_CENTS = 10_000

database = sqlite3.connect(Path(sys.argv[1]).with_suffix(".sqlite"), check_same_thread=False)
database.execute(
    "CREATE TABLE IF NOT EXISTS charge (key TEXT PRIMARY KEY, number TEXT, cents INTEGER, state TEXT)"
)
lock = threading.Lock()


def signed(path: str, key: str, header: str, body: bytes) -> bool:
    """Whether one of the signatures is ours, and made a moment ago."""
    at, *signatures = header.split(",")
    if not at.startswith("t=") or not at[2:].isdigit() or abs(time.time() - int(at[2:])) > STALE_S:
        return False
    wanted = hmac.new(KEY, f"{at[2:]}\n{path}\n{key}\n".encode() + body, sha256).hexdigest()
    return any(hmac.compare_digest(f"v1={wanted}", given) for given in signatures)


def charge(key: str, told: dict) -> tuple[int, dict, bool]:
    """Status, answer, and whether it was charged only now."""
    with lock, database:
        found = database.execute("SELECT state FROM charge WHERE key = ?", [key]).fetchone()
        if found is None and told["cents"] > RICHEST_CENTS:
            return 422, {"reason": "card declined"}, False
        if found is None:
            database.execute(
                "INSERT INTO charge VALUES (?, ?, ?, 'charged')", [key, told["order"], told["cents"]]
            )
    if found == ("voided",):
        return 409, {"reason": "voided"}, False
    return 200, {"charge": key}, found is None


def charges() -> int:
    """How many there are by now."""
    with lock:
        return database.execute("SELECT count(*) FROM charge").fetchone()[0]


def refund(key: str) -> tuple[int, dict]:
    """Void the key, charged or not."""
    with lock, database:
        database.execute(
            "INSERT INTO charge VALUES (?, '', 0, 'voided') ON CONFLICT (key) DO UPDATE SET state = 'voided'",
            [key],
        )
    return 200, {}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"]
        if not signed(self.path, key, self.headers.get("Amends-Signature", ""), body):
            return self.answer(401, {"reason": "not signed by us"})
        if self.path == "/api/refunds":
            return self.answer(*refund(self.headers["Amends-Undoes"]))
        status, told, new = charge(key, json.loads(body))
        if new and charges() % 3 == 0:
            self.connection.close()
            return None
        return self.answer(status, told)

    def answer(self, status: int, told: dict) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ValueError:  # It hung up on purpose.
            self.close_connection = True


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Path(sys.argv[1]).write_text(str(server.server_port))
    server.serve_forever()
