"""What the examples share: a coordinator and its participants in this process, and waiting for their sagas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep

from sqlalchemy import Engine, MetaData

from amends.coordinator import Saga, queries
from amends.coordinator.engine.coordinator import Coordinator
from amends.db.engines import transaction
from amends.outbox.ports import Broker
from amends.participants import Participant


@contextmanager
def running(
    coordinator: Engine,
    databases: Mapping[str, Engine],
    broker: Broker,
    *,
    prefix: str,
    sagas: Iterable[Saga],
    participants: Iterable[Participant],
    tables: MetaData,
) -> Iterator[None]:
    """Make `tables` in each database, then run the coordinator and a worker for each participant until the block ends.

    The databases are by participant's name and have amends' own tables already. Raises: StoreUnavailable.
    """
    for database in databases.values():
        with transaction(database) as connection:
            tables.create_all(connection)
    with ExitStack() as stack:
        engine = Coordinator(coordinator, broker, prefix=prefix)
        for saga in sagas:
            engine.catalog.register(saga.definition, actor="example")
        engine.start()
        stack.callback(engine.stop)
        for participant in participants:
            worker = participant.worker(database=databases[participant.name], broker=broker, prefix=prefix)
            worker.start()
            stack.callback(worker.stop)
        yield


def wait_for_end(coordinator: Engine, sagas: Sequence[str], timeout_s: float) -> None:
    """Wait until these sagas have ended. Raises: TimeoutError."""
    deadline = monotonic() + timeout_s
    while queries.ended_among(coordinator, sagas) != set(sagas):
        if monotonic() > deadline:
            raise TimeoutError(f"not all of {len(sagas)} sagas have ended after {timeout_s:g} s")
        sleep(0.05)
