"""A small run of the shop that has ended, on the shared PostgreSQL; its databases can be copied and tampered with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import Engine, make_url

from amends.db.engines import open_engine, transaction
from amends.demo.checks import Case, Verdict, judge
from amends.demo.databases import made_databases
from amends.demo.embedded import in_this_process
from amends.demo.evidence import Databases, gather
from amends.demo.exposition import Samples
from amends.demo.orders import own_orders
from amends.demo.replay import replay_all
from amends.demo.run import Outcome, run
from tests.servers.postgres import PostgresServer

ORDERS = (
    80  # Of the first eighty some are refused by each participant, some never answer, one is placed twice.
)


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended, and its databases."""

    databases: Databases
    outcome: Outcome
    metrics: Samples

    def verdicts(self, databases: Databases, **changed: object) -> dict[int, Verdict]:
        """What the checks say of these databases."""
        case = Case(
            evidence=gather(databases),
            replay=replay_all(databases.coordinator),
            queued={},
            metrics=self.metrics,
            faults=True,
        )
        return {verdict.number: verdict for verdict in judge(dataclasses.replace(case, **changed))}


@pytest.fixture(scope="module")
def finished(postgres: PostgresServer) -> Iterator[Finished]:
    """Eighty orders, run to their end in this process."""
    orders = own_orders()[:ORDERS]
    with made_databases(postgres.url, orders, faults=True) as databases:
        with in_this_process(databases) as stage:
            outcome = run(stage, orders, faults=True, progress=lambda _: None)
            metrics = stage.metrics()
        assert metrics is not None
        for engine in databases.all().values():
            engine.dispose()  # A database that somebody is connected to cannot be copied.
        yield Finished(databases, outcome, metrics)


@pytest.fixture
def tampered(postgres: PostgresServer, finished: Finished) -> Iterator[Callable[..., Databases]]:
    """The finished run's databases with one of them replaced by a copy in which some statements were run."""
    with ExitStack() as stack:

        def tamper(which: str, *statements: str) -> Databases:
            original: Engine = getattr(finished.databases, which)
            name = original.url.database
            assert name is not None
            original.dispose()
            url = postgres.create_database(name)
            stack.callback(postgres.drop_database, url)
            engine = open_engine(make_url(url))
            stack.callback(engine.dispose)
            with transaction(engine) as connection:
                for statement in statements:
                    changed = connection.exec_driver_sql(statement)
                    assert changed.rowcount != 0, f"nothing was changed by {statement}"
            return dataclasses.replace(finished.databases, **{which: engine})

        yield tamper
