"""Runs the example: `python -m examples.pipeline`, in the repository's root.

A hundred messages go through three services; one of them is killed on the way. Then every message's history is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from time import monotonic, sleep

import click
from sqlalchemy import Engine, select

from amends.db.engines import transaction
from amends.participants import Client
from examples.pipeline.line import STATIONS, Line, line
from examples.pipeline.services import create, records_kept, visits
from examples.running import wait_for_end
from examples.servers import servers
from examples.verdict import Verdict

MESSAGES = 100
EARLY = 70
KILL_AT = 20
LIMIT_S = 60.0


def main() -> None:
    """Send the messages, kill station b, and look at what is recorded in the end."""
    verdict = Verdict()
    with servers() as at, line(at) as running:
        sagas = send(running, at.prefix, range(1, EARLY + 1))
        until(lambda: visited(running.databases["b"]) >= KILL_AT)
        running.workers["b"].kill()
        done = visited(running.databases["b"])
        sagas += send(running, at.prefix, range(EARLY + 1, MESSAGES + 1))
        click.echo(f"{MESSAGES} messages are under way; b is killed -9 after {done}")
        running.workers["b"].start()
        wait_for_end(running.coordinator, sagas, LIMIT_S)
        check(running, verdict)
    verdict.tell("every message was created, visited a, b and c in this order and once, and was completed")


def send(running: Line, prefix: str, numbers: Iterable[int]) -> list[str]:
    """Create these messages, each with its saga in one transaction of the records."""
    client = Client("records", prefix=prefix)
    sagas = []
    for number in numbers:
        with transaction(running.databases["records"]) as connection:
            sagas.append(create(connection, client, number))
    return sagas


def check(running: Line, verdict: Verdict) -> None:
    """Every record against what the stations have kept themselves."""
    with transaction(running.databases["records"]) as connection:
        records = connection.execute(select(records_kept).order_by(records_kept.c.number)).all()
    verdict.equal("how the records stand", [row.status for row in records], ["completed"] * MESSAGES)
    for row in records:
        names, times = zip(*((entry["by"], entry["at"]) for entry in row.history), strict=True)
        verdict.equal(f"the way of {row.number}", names, ("created", *STATIONS, "completed"))
        verdict.equal(
            f"that {row.number} went forward", all(one <= next_ for one, next_ in pairwise(times)), True
        )
    for place, name in enumerate(STATIONS, start=1):
        with transaction(running.databases[name]) as connection:
            kept = connection.execute(select(visits).order_by(visits.c.at)).all()
        recorded = {row.number: row.history[place]["at"] for row in records}
        verdict.equal(f"what {name} has kept", {row.number: row.at for row in kept}, recorded)
        order = [row.number for row in kept]
        overtaken = sum(one > next_ for one, next_ in pairwise(order))
        verdict.equal(f"that messages overtook each other at {name}", overtaken > 0, True)
        workers = len({row.worker for row in kept})
        verdict.equal(f"that {name} has several workers", workers > 1, True)
        click.echo(f"{name}: {len(kept)} visits by {workers} workers, {overtaken} times out of turn")


def visited(database: Engine) -> int:
    """How many messages have been at a station."""
    with transaction(database) as connection:
        return len(connection.execute(select(visits.c.number)).all())


def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds. Raises: TimeoutError."""
    deadline = monotonic() + LIMIT_S
    while not holds():
        if monotonic() > deadline:
            raise TimeoutError(f"not so after {LIMIT_S:g} s")
        sleep(0.02)


if __name__ == "__main__":
    main()
