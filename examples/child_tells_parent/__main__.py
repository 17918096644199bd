"""Runs the example: `python -m examples.child_tells_parent`, in the repository's root.

Two parents ask for work, two processes of the child do it, a coordinator carries it: five processes, each killed with
`kill -9` while the work goes on, and started again. Every parent hears of each of its houses once.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import click
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from amends.db import participant as tables
from amends.db.engines import open_engine, transaction
from amends.db.guarded import Guarded
from amends.db.migrate import migrate
from examples.child_tells_parent.parent import ask, north, south
from examples.servers import Servers, servers
from examples.verdict import Verdict

PARENTS = (north, south)
HOUSES = 40  # for each parent
LIMIT_S = 100.0
ROOT = Path(__file__).parents[2]


class Programs:
    """The processes, by name; all end with the stack."""

    def __init__(self, at: Servers, databases: dict[str, str], directory: Path, stack: ExitStack) -> None:
        self._at = at
        self._databases = databases
        self._directory = directory
        self._stack = stack
        self._running: dict[str, Guarded] = {}

    def start(self, name: str) -> None:
        """`coordinator`, `north-1`, `child-2` ..."""
        service = name.partition("-")[0]
        module = "child" if service == "child" else "parent"
        arguments = ["participant", f"examples.child_tells_parent.{module}:{service}"]
        if service == "coordinator":
            arguments = [
                "coordinator",
                "--port",
                "0",
                "--apply",
                "examples.child_tells_parent.saga:paint_house",
            ]
        process = Guarded(
            [sys.executable, "-m", "amends.db.cli", *arguments],
            directory=ROOT,
            log=self._directory / f"{name}.log",
            env={
                **os.environ,
                "AMENDS_DATABASE_URL": self._databases[service],
                "AMENDS_BROKER_URL": self._at.broker_url,
                "AMENDS_PREFIX": self._at.prefix,
            },
        )
        self._stack.callback(process.close)
        process.start()
        self._running[name] = process

    def kill(self, name: str) -> None:
        """`kill -9`, and start it again."""
        process = self._running.pop(name)
        assert process.pid is not None, "it was started"
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: not process.alive(), f"{name} to die")
        click.echo(f"killed {name}, and started it again")
        self.start(name)


def main() -> None:
    """Ask, kill, and see what the parents heard."""
    verdict = Verdict()
    with servers() as at, tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        databases = {name: at.database() for name in ("coordinator", "child", "north", "south")}
        engines = {name: open_engine(url) for name, url in databases.items()}
        for engine in engines.values():
            stack.callback(engine.dispose)
        migrate(engines["coordinator"], "coordinator")
        for name in ("child", "north", "south"):
            tables.create(engines[name])
        run(engines["child"], "CREATE TABLE painted (parent text, number int)")
        for parent in PARENTS:
            run(engines[parent.name], "CREATE TABLE house (number int, saga text, state text, told int)")

        programs = Programs(at, databases, Path(directory), stack)
        names = ("coordinator-1", "child-1", "child-2", "north-1", "south-1")
        for name in names:
            programs.start(name)
        for number in range(HOUSES):
            for parent in PARENTS:
                with Session(engines[parent.name]) as session, session.begin():
                    ask(session, parent, number, prefix=at.prefix)
        click.echo(f"{len(PARENTS)} parents asked for {HOUSES} houses each")
        for count, name in enumerate(names):
            wait_for(lambda some=count * 8: told(engines) > some, "the work to go on")  # type: ignore[misc]
            programs.kill(name)
        wait_for(lambda: told(engines) == len(PARENTS) * HOUSES, "every parent to hear of every house")

        for parent in PARENTS:
            states = found(
                engines[parent.name], "SELECT state, count(*), max(told) FROM house GROUP BY state"
            )
            verdict.equal(
                f"what {parent.name} heard",
                sorted(states),
                [
                    ("blue", HOUSES // 2, 1),
                    ("compensated", HOUSES // 10, 1),
                    ("red", HOUSES // 2 - HOUSES // 10, 1),
                ],
            )
        painted = found(
            engines["child"], "SELECT parent, count(*), count(DISTINCT number) FROM painted GROUP BY parent"
        )
        done = HOUSES - HOUSES // 10
        verdict.equal("what was painted", sorted(painted), [("north", done, done), ("south", done, done)])
    verdict.tell(
        "each parent heard of each of its houses once, and each was painted once or refused, whoever died"
    )


def run(engine: Engine, statement: str) -> None:
    """One statement in a transaction."""
    with transaction(engine) as connection:
        connection.execute(text(statement))


def found(engine: Engine, query: str) -> list[tuple[object, ...]]:
    """What a query finds."""
    with transaction(engine) as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def told(engines: dict[str, Engine]) -> int:
    """How many houses the parents have heard of."""
    return sum(len(found(engines[one.name], "SELECT 1 FROM house WHERE told > 0")) for one in PARENTS)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds. Raises: TimeoutError."""
    deadline = monotonic() + LIMIT_S
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"waited {LIMIT_S:g} s for {what}")
        sleep(0.05)


if __name__ == "__main__":
    main()
