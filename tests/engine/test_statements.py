"""What a batch costs the database: statements are counted, not seconds, so nothing creeps up unseen (E1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event

from amends.coordinator import rollout
from amends.coordinator.catalog import Catalog
from amends.coordinator.engine import sql
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.observer import NULL_OBSERVER
from amends.demo.shop.definition import place_order
from amends.outbox import wire
from tests.engine.world import start
from tests.stateful.desk import answer
from tests.stateful.post import Post
from tests.stateful.stepped import Stepped

ORDER = {
    "number": "4711",
    "customer": {"name": "Ann", "email": "ann@example.org"},
    "lines": [{"sku": "A-1", "title": "A lamp", "quantity": 2, "price_cents": 4_900}],
    "total_cents": 9_800,
    "card": "4111-1111",
    "address": {"name": "Ann", "street": "Main Street 1", "postcode": "12345", "city": "Springfield"},
}
PARTICIPANTS = ("inventory", "payments", "shipping")

_PURPOSES = {
    sql.NOW_MS: "what time it is",
    sql.LOCK_HEADS: "sagas locked",
    sql.READ_SAGAS: "sagas read",
    sql.LOAD_SOME_STEPS: "steps read",
    sql.INSERT_SAGAS: "new sagas",
    sql.GONE_IDS: "ids that no start may have",
    sql.UPDATE_SAGAS: "sagas",
    sql.SAVE_STEPS: "steps",
    sql.APPEND_LOG: "log",
    sql.ARM_TIMERS: "timers armed",
    sql.DISARM_TIMERS: "timers disarmed",
    sql.DISARM_SAGAS: "timers of ended sagas",
    rollout.STANDINGS: "how the names stand",
}


def _outbox(statement: str) -> str:
    """The outbox's own statements carry the name of their table."""
    if "INSERT INTO amends.outbox" in statement:
        return "outbox"
    return "outbox rows confirmed" if "DELETE FROM amends.outbox" in statement else statement


@contextmanager
def statements(database: Engine) -> Iterator[list[str]]:
    """What every statement is for, in their order."""
    seen: list[str] = []

    def look(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        seen.append(_PURPOSES.get(statement) or _outbox(statement))

    event.listen(database, "after_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(database, "after_cursor_execute", look)


class Line:
    """An engine stepped by hand, with its sagas all in one batch."""

    def __init__(self, database: Engine) -> None:
        Catalog(database).register(place_order.definition, actor="test")
        self.database = database
        self.post = Post(f"t{uuid4().hex[:8]}", PARTICIPANTS)
        self.engine = Stepped(database, self.post.broker, self.post.prefix, NULL_OBSERVER, EngineSettings())

    def started(self, sagas: int) -> list[str]:
        """The statements of the batch in which so many start."""
        for _ in range(sagas):
            self.engine.coordinator.submit_start(start("place-order", ORDER), actor="test")
        return self._turn()

    def answered(self) -> list[str]:
        """The statements of the batch in which whatever is asked of participants is done."""
        self.deliver()
        return self._turn()

    def deliver(self) -> None:
        """Whatever is asked of participants is done, and the engine has their answers."""
        fresh, self.post.fresh = self.post.fresh, []
        for sent in fresh:
            reply = answer(sent, "done", result={"reservation": "r-1"})
            self.post.hand_over(self.post.write(wire.REPLY, reply, reply.saga))
        self.engine.receive()

    def post_on(self) -> None:
        """What the batch has committed is published, and confirmed."""
        self.engine.publish()
        self.post.collect()
        self.engine.publish()

    def _turn(self) -> list[str]:
        with statements(self.database) as seen:
            self.engine.decide()
        self.post_on()
        return seen


# Beside these a transaction has its BEGIN and its COMMIT; in how few round trips, `tests/speed/test_batches.py` counts.
START = [
    "what time it is",
    "how the names stand",
    "new sagas",
    "ids that no start may have",
    "steps",
    "log",
    "outbox",
    "timers armed",
]
REPLY = ["outbox rows confirmed", "what time it is", "sagas locked", "sagas", "steps", "log", "outbox"]
TIMERS = ["timers disarmed", "timers armed"]
LAST_REPLY = [*REPLY[:-1], "timers of ended sagas"]


@pytest.mark.parametrize("sagas", [1, 200])
def test_a_batch_costs_the_same_statements_however_many_sagas_are_in_it(
    coordinator_database: Engine, sagas: int
) -> None:
    """33 statements for 200 sagas of three steps, as for one: nothing is read back, nothing is written one by one.

    Without `put` in deciding._after_commit it fails: every batch of replies reads headers and steps.
    """
    line = Line(coordinator_database)

    batches = [line.started(sagas), line.answered(), line.answered(), line.answered()]

    assert batches == [START, REPLY + TIMERS, REPLY + TIMERS, LAST_REPLY]
    with coordinator_database.connect() as connection:
        ended = connection.exec_driver_sql("SELECT count(*) FROM amends.saga WHERE status = 'completed'")
        assert ended.scalar_one() == sagas
