"""Round trips to PostgreSQL and bytes on the way, per saga: an untimed run through a counting proxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final

from bench.closed import closed_loop, settle
from bench.contestants.amends import Amends, amends
from bench.contestants.bare import Bare, bare
from bench.contestants.coordinated import LOOKING
from bench.order import PARTICIPANTS
from bench.roundtrips import Client, Counted, Tally, counted
from bench.sections.throughput import BATCH
from bench.servers import Servers

SAGAS: Final = 1_000
SAGAS_QUICK: Final = 200
IN_FLIGHT: Final = (1_000, 50)
REPLAYING: Final = ("coordinator", "amends")  # what looks for findings between two runs

CONTESTANTS: Final[Mapping[str, Callable[[Servers], AbstractContextManager[Amends | Bare]]]] = {
    "amends": amends,
    f"amends, batch={BATCH}": lambda servers: amends(servers, batch=BATCH),
    "bare loop": bare,
}

QUICK: Final = ("amends", "bare loop")


def measure(servers: Servers, *, quick: bool) -> dict[str, Any]:
    """Per saga, by contestant and sagas in flight: `coordinator_round_trips`, `participants_round_trips` (of all three
    together), `front_round_trips` (the service that starts the sagas, its relay included), and `..._kib`, sent and
    received. What idle connections ask now and then is in it.
    """
    sagas, in_flight = (SAGAS_QUICK, IN_FLIGHT[:1]) if quick else (SAGAS, IN_FLIGHT)
    figures: dict[str, Any] = {}
    with counted(servers.postgres_url) as proxy:
        through = replace(servers, postgres_url=proxy.url)
        for name, contestant in CONTESTANTS.items():
            if quick and name not in QUICK:
                continue
            figures[name] = {}
            with contestant(through) as running:
                for many in in_flight:
                    figures[name][f"in_flight_{many}"] = _costs(proxy, running, through, sagas, many)
    return figures


def _costs(
    proxy: Counted, running: Amends | Bare, servers: Servers, sagas: int, in_flight: int
) -> dict[str, float]:
    before, ended = _by_part(proxy), running.ended()
    closed_loop(running, servers, sagas=sagas, in_flight=in_flight)
    settle(running)
    ended = running.ended() - ended  # The loop also warms up.
    costs: dict[str, float] = {}
    for part, tally in _by_part(proxy).items():
        was = before.get(part, Tally())
        costs[f"{part}_round_trips"] = round((tally.round_trips - was.round_trips) / ended, 3)
        moved = tally.sent_bytes + tally.received_bytes - was.sent_bytes - was.received_bytes
        costs[f"{part}_kib"] = round(moved / ended / 1024, 2)
    return costs


def _by_part(proxy: Counted) -> dict[str, Tally]:
    """The counts of coordinator, participants and front; not of those who only look on."""
    parts: dict[str, Tally] = {}
    for client, tally in proxy.read().items():
        part = _part(client)
        if part is not None:
            sum_ = parts.setdefault(part, Tally())
            sum_.round_trips += tally.round_trips
            sum_.sent_bytes += tally.sent_bytes
            sum_.received_bytes += tally.received_bytes
    return parts


def _part(client: Client) -> str | None:
    database = client.database.rpartition("_")[0]  # Databases are numbered for each contestant.
    if client.application == LOOKING or (database, client.application) == REPLAYING:
        return None
    if database in PARTICIPANTS:
        return "participants"
    return database if database in ("coordinator", "front") else None
