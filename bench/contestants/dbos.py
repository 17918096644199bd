"""DBOS: a workflow of three local steps (bench/peers/dbos_app.py), set up to be fast.

Its system database and the database that the steps write to are on the same PostgreSQL server. What is set to make it
fast: sixteen threads (thirty-two took more CPU a saga), a connection for each to either database, no ping before it is
used, orders placed in transactions of many on a queue that is looked at ten times a second (each by
`start_workflow` took more CPU), single ones by `start_workflow`, past the queue. The steps are plain ones, each with an
effect that commits by itself: in a datasource's transaction an effect happens once, but that takes more statements.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import psycopg
from dbos import DBOSClient
from psycopg import sql
from sqlalchemy import create_engine

from amends.db.private_postgres import free_port
from bench.contestants.databases import sqlalchemy_url
from bench.contestants.doors import opened
from bench.contestants.processes import Processes
from bench.order import EFFECTS_TABLE, PARTICIPANTS, order
from bench.peers.dbos_app import APPLICATION, QUEUE, WORKFLOW, workflow_id
from bench.servers import Servers

ENDED = "SELECT count(*) FROM dbos.workflow_status WHERE completed_at IS NOT NULL"
ENDED_OF = "SELECT workflow_uuid FROM dbos.workflow_status WHERE workflow_uuid = ANY(%s) AND completed_at IS NOT NULL"
STATUS = "SELECT count(*) FILTER (WHERE status = 'SUCCESS'), count(*) FROM dbos.workflow_status"
STEPS_DONE = "SELECT count(*) FROM dbos.operation_outputs WHERE error IS NULL"
EFFECTS = sql.SQL("SELECT count(*), count(DISTINCT saga_id) FROM {}.effects")


class Dbos:
    """Running."""

    name = "DBOS"

    def __init__(self, processes: Processes, port: int, system: str, effects: str) -> None:
        self._processes = processes
        self._port = port
        self._doors = threading.local()
        self._counting = threading.Lock()
        self._client = DBOSClient(system_database_url=system, application_name=APPLICATION)
        self._engine = create_engine(sqlalchemy_url(system))
        self._system = psycopg.connect(system, autocommit=True)
        self._effects = effects
        self._placed = 0

    def close(self) -> None:
        """Leave its databases."""
        self._client.destroy()
        self._engine.dispose()
        self._system.close()

    @property
    def parts(self) -> Mapping[str, int]:
        return self._processes.pids

    def place(self, numbers: Sequence[str]) -> None:
        with self._engine.begin() as connection:
            for number in numbers:
                self._client.enqueue_in_transaction(
                    connection,
                    {
                        "workflow_name": WORKFLOW,
                        "queue_name": QUEUE,
                        "workflow_id": workflow_id(number),
                    },
                    order(number),
                )
        self._placed += len(numbers)

    def turn(self) -> None:
        """The application runs by itself."""

    def ended(self) -> int:
        self._processes.check()
        row = self._system.execute(ENDED).fetchone()
        assert row is not None
        return int(row[0])

    def start(self, number: str) -> None:
        """Through the application's door; past the queue, which would be looked at now and then only."""
        if not hasattr(self._doors, "one"):
            self._doors.one = opened(self._port, self._processes)
        self._doors.one.sendall(number.encode() + b"\n")
        assert self._doors.one.recv(64) == b"ok\n"
        with self._counting:
            self._placed += 1

    def ended_of(self, numbers: Sequence[str]) -> set[str]:
        """Which of these orders' workflows have ended."""
        orders = {workflow_id(number): number for number in numbers}
        return {orders[row[0]] for row in self._system.execute(ENDED_OF, (list(orders),))}

    def findings(self) -> list[str]:
        """Each workflow succeeded, each of its steps is recorded, and its effect is there once."""
        found = []
        statuses = self._system.execute(STATUS).fetchone()
        if statuses != (self._placed, self._placed):
            found.append(f"of {self._placed} workflows (succeeded, known): {statuses}")
        steps = self._system.execute(STEPS_DONE).fetchone()
        if steps != (len(PARTICIPANTS) * self._placed,):
            found.append(f"{steps} steps done by {self._placed} workflows")
        with psycopg.connect(self._effects) as connection:
            for name in PARTICIPANTS:
                effects = connection.execute(EFFECTS.format(sql.Identifier(name))).fetchone()
                if effects != (self._placed, self._placed):
                    found.append(f"{name}: {effects} effects and workflows for {self._placed}")
        return found


@contextmanager
def dbos(servers: Servers, *, executors: int = 1, threads: int = 16) -> Iterator[Dbos]:
    """Running until the block ends. `executors`: processes; `threads` of each, for workflows."""
    with ExitStack() as ends:
        system, effects = servers.create_database("dbos"), servers.create_database("effects")
        ends.callback(servers.drop_database, system)
        ends.callback(servers.drop_database, effects)
        with psycopg.connect(effects) as connection:
            for name in PARTICIPANTS:
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
                connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(name)))
                connection.execute(EFFECTS_TABLE)
        processes = ends.enter_context(Processes())
        ports = [free_port() for _ in range(executors)]
        for number, port in enumerate(ports):
            processes.start(
                f"executor{number or ''}",
                *("bench.peers.dbos_app", system, effects, str(port), str(threads), f"executor-{number}"),
            )
            # The first one makes the tables of the system database.
            opened(port, processes).close()
        running = Dbos(processes, ports[0], system, effects)
        ends.callback(running.close)
        yield running
