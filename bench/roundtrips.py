"""A proxy between clients and PostgreSQL that counts how often they wait for it, and the bytes on the way.

`python -m bench.roundtrips PORT CONTROL_PORT HOST SERVER_PORT`: listens on PORT for clients, and tells its counts, as
one JSON document, to whoever connects to CONTROL_PORT. A round trip is a Query or a Sync: after each of them a client
waits for the server (several statements of a pipeline share one).
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from sqlalchemy.engine import make_url

from amends.db.private_postgres import free_port
from bench.contestants.processes import Processes

READY_S: Final = 20.0
CHUNK_BYTES: Final = 262_144
_ASKING: Final = frozenset(b"QS")  # Query, Sync
_MAJOR: Final = (
    3  # of the protocol version in a StartupMessage; requests for encryption have another number there
)


class Client(NamedTuple):
    """Who a connection belongs to."""

    database: str
    application: str


@dataclass(slots=True)
class Tally:
    """What the connections of one client came to: round trips, and bytes to and from the server."""

    round_trips: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


class Frontend:
    """Reads what one client sends, as far as is needed to know who it is and how often it asks."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self._held = b""  # the beginning of a message whose length is not known yet
        self._skip = 0  # bytes of the message under way that do not matter

    def feed(self, data: bytes) -> int:
        """How many round trips begin in these bytes."""
        data, self._held = self._held + data, b""
        at = asked = 0
        while True:
            passed = min(self._skip, len(data) - at)
            at, self._skip = at + passed, self._skip - passed
            left = len(data) - at
            if self._skip or left < 5:
                break
            if self.client is None:
                length = int.from_bytes(data[at : at + 4])
                if left < length:
                    break
                self._introduced(data[at + 4 : at + length])
                at += length
            else:
                asked += data[at] in _ASKING
                self._skip = 1 + int.from_bytes(data[at + 1 : at + 5])
        self._held = data[at:]
        return asked

    def _introduced(self, body: bytes) -> None:
        if int.from_bytes(body[:2]) != _MAJOR:
            return  # A request for encryption, which the server refuses; the client goes on in the clear.
        words = body[4:].rstrip(b"\0").split(b"\0")
        given = {name.decode(): value.decode() for name, value in zip(words[::2], words[1::2], strict=True)}
        self.client = Client(given.get("database", given["user"]), given.get("application_name", ""))


class Proxy:
    """Carries bytes both ways and counts."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._tallies: defaultdict[Client, Tally] = defaultdict(Tally)

    async def serve(self, port: int, control: int) -> None:
        """Until cancelled."""
        clients = await asyncio.start_server(self._connected, "127.0.0.1", port, limit=CHUNK_BYTES)
        asking = await asyncio.start_server(self._asked, "127.0.0.1", control)
        await asyncio.gather(clients.serve_forever(), asking.serve_forever())

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(self._host, self._port, limit=CHUNK_BYTES)
        frontend = Frontend()
        await asyncio.gather(self._up(reader, downstream, frontend), self._down(upstream, writer, frontend))

    async def _up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frontend: Frontend
    ) -> None:
        async for data in _chunks(reader):
            asked = frontend.feed(data)
            if frontend.client is not None:
                tally = self._tallies[frontend.client]
                tally.round_trips += asked
                tally.sent_bytes += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frontend: Frontend
    ) -> None:
        async for data in _chunks(reader):
            if frontend.client is not None:
                self._tallies[frontend.client].received_bytes += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _asked(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = [[*client, asdict(tally)] for client, tally in self._tallies.items()]
        writer.write(json.dumps(told).encode())
        writer.close()


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """What comes, as it comes; nothing more once the other side has gone."""
    try:
        while data := await reader.read(CHUNK_BYTES):
            yield data
    except ConnectionError:
        return


class Counted:
    """A proxy that runs: `url` leads through it."""

    def __init__(self, url: str, control: int) -> None:
        self.url = url
        self._control = control

    def read(self) -> Mapping[Client, Tally]:
        """The counts so far. Raises: ConnectionError if the proxy is not up."""
        with socket.create_connection(("127.0.0.1", self._control)) as asking:
            told = b"".join(iter(lambda: asking.recv(CHUNK_BYTES), b""))
        return {
            Client(database, application): Tally(**tally) for database, application, tally in json.loads(told)
        }


@contextmanager
def counted(server: str) -> Iterator[Counted]:
    """A counting proxy before the PostgreSQL at this URL, until the block ends."""
    url = make_url(server)
    port, control = free_port(), free_port()
    with Processes() as processes:
        processes.start(
            "proxy",
            "bench.roundtrips",
            str(port),
            str(control),
            url.host or "127.0.0.1",
            str(url.port or 5432),
        )
        through = url.set(host="127.0.0.1", port=port).update_query_dict({"sslmode": "disable"})
        made = Counted(through.render_as_string(hide_password=False), control)
        _await(made, processes)
        yield made


def _await(proxy: Counted, processes: Processes) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            proxy.read()
        except ConnectionError:
            processes.check()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def main() -> None:
    """Run until killed: PORT CONTROL_PORT HOST SERVER_PORT."""
    port, control, host, server_port = sys.argv[1:]
    asyncio.run(Proxy(host, int(server_port)).serve(int(port), int(control)))


if __name__ == "__main__":
    main()
