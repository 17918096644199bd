"""Runs the example: `python -m examples.callback_queue`, in the repository's root.

Two pools of servers and two callback workers, each a process of its own, on a real PostgreSQL and RabbitMQ. This
program asks: it waits for some answers, and leaves others to the callback workers. In between a server is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep
from typing import Final

import click
import psutil
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from amends.db import participant as participant_tables
from amends.db.engines import open_engine, transaction
from amends.participants import CallRefused, Client
from examples.callback_queue.desk import ask, asked, metadata
from examples.callback_queue.servers import Add, Number, slowly
from examples.servers import Servers, servers
from examples.verdict import Verdict

NUMBERS: Final = [n % 20 for n in range(200)] + [-1]
_HERE: Final = "examples.callback_queue"
_CALL_S: Final = 60.0
_ANSWERS_S: Final = 60.0


@contextmanager
def pool(at: Servers, database: str, name: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the workers of one participant until the block ends."""
    command = [
        sys.executable,
        "-m",
        "amends.db.cli",
        "participant",
        f"{_HERE}.{name}",
        "--prefix",
        at.prefix,
        *options,
    ]
    settings = {"AMENDS_DATABASE_URL": database, "AMENDS_BROKER_URL": at.broker_url}
    workers = subprocess.Popen(command, env={**os.environ, **settings}, stderr=subprocess.DEVNULL)
    try:
        yield workers
    finally:
        workers.terminate()
        workers.wait()


def call(client: Client, verdict: Verdict) -> None:
    """Ask and wait: from many threads, from a coroutine, and for what there is not."""
    with ThreadPoolExecutor(10) as threads:
        sums = list(
            threads.map(lambda n: client.call("calculator", "add", Add(n, n), timeout=_CALL_S), range(100))
        )
    verdict.equal("the sums that threads waited for", sums, [2 * n for n in range(100)])

    async def together() -> list[int]:
        calls = (
            client.acall("fibonacci", "compute", Number(n), result=int, timeout=_CALL_S) for n in range(20)
        )
        return list(await asyncio.gather(*calls))

    verdict.equal(
        "the numbers a coroutine waited for", asyncio.run(together()), [slowly(n) for n in range(20)]
    )
    try:
        client.call("fibonacci", "compute", Number(-1), timeout=_CALL_S)
    except CallRefused as no:
        verdict.equal("the answer to what there is not", no.reason, "there is no such Fibonacci number")
    else:
        verdict.equal("the answer to what there is not", "a number", "a refusal")


def kill_one(workers: subprocess.Popen[bytes]) -> int:
    """Kill one server process of a pool; its number."""
    victim = psutil.Process(workers.pid).children()[0].pid
    os.kill(victim, signal.SIGKILL)
    return victim


def wait_for_answers(database: Engine, count: int) -> None:
    """Until so many calls are answered. Raises: ClickException."""
    deadline = monotonic() + _ANSWERS_S
    while True:
        with transaction(database) as connection:
            answered = connection.scalar(select(func.count()).where(asked.c.answers > 0))
        if answered == count:
            return
        if monotonic() > deadline:
            raise click.ClickException(f"only {answered} of {count} calls are answered")
        sleep(0.05)


def main() -> None:
    """Ask both ways, kill a server in between, and compare every answer with what it should be."""
    verdict = Verdict()
    with ExitStack() as stack:
        at = stack.enter_context(servers())
        urls = {name: at.database() for name in ("fibonacci", "calculator", "desk")}
        engines = {name: open_engine(url) for name, url in urls.items()}
        for engine in engines.values():
            stack.callback(engine.dispose)
            participant_tables.create(engine)
        desk = engines["desk"]
        with transaction(desk) as connection:
            metadata.create_all(connection)
        stack.enter_context(pool(at, urls["calculator"], "servers:calculator", "--processes", "2"))
        fibonacci = stack.enter_context(pool(at, urls["fibonacci"], "servers:fibonacci", "--processes", "3"))
        stack.enter_context(pool(at, urls["desk"], "desk:desk", "--processes", "2"))

        client = Client(service="desk", prefix=at.prefix, broker=at.broker_url)
        stack.callback(client.close)
        call(client, verdict)
        with Session(desk) as session, session.begin():
            for n in NUMBERS:
                ask(client, session, n)
        click.echo(f"killed server process {kill_one(fibonacci)}")
        wait_for_answers(desk, len(NUMBERS))
        with transaction(desk) as connection:
            rows = connection.execute(
                select(asked.c.n, asked.c.answers, asked.c.result, asked.c.problem)
            ).all()
    no = "refused: there is no such Fibonacci number"
    right = [(n, 1, slowly(n), None) if n >= 0 else (n, 1, None, no) for n in NUMBERS]
    click.echo(f"{len(rows)} calls were answered to callback workers")
    verdict.equal("the answers to callback workers, each once", sorted(map(tuple, rows)), sorted(right))
    verdict.tell("every call has its answer, once, whoever waited, and although a server was killed")


if __name__ == "__main__":
    main()
