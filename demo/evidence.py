"""What the databases tell after a run: the facts that the checks judge.

The participants' own tables say what really happened, their barriers what was answered, the coordinator's tables
what it believes. Each statement reads one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine

# What the front promised: its orders and the sagas they started.
ORDERS = "SELECT saga_id::text, number, card, lines, pieces, total_cents FROM orders"

# What the coordinator has of each saga.
SAGAS = "SELECT id::text, status, key, seq, stuck_steps::text, error FROM amends.saga"

# What the coordinator believes of each step.
STEPS = "SELECT saga_id::text, path, phase, op, did, attempt FROM amends.step"

# How many log entries each saga has, and from where to where.
LOGS = "SELECT saga_id::text, count(*), min(seq), max(seq) FROM amends.saga_log GROUP BY saga_id"

# Timers that still wait.
TIMERS = "SELECT count(*) FROM amends.timer"

# What a participant answered: one row per saga, step and op.
BARRIER = "SELECT saga_id::text, path, op, outcome, at FROM amends_barrier"

# Outbox rows that nobody has sent yet, or that wait for a receipt; parked ones are an operator's.
UNSENT: Final = {
    "coordinator": "SELECT count(*) FROM amends.outbox WHERE parked_at IS NULL",
    "participant": "SELECT count(*) FROM amends_outbox WHERE parked_at IS NULL",
}

# What really happened, per saga: how many rows, what they come to, and the first and last place in the journal.
MADE: Final = {
    "inventory": "SELECT saga_id::text, count(*), sum(quantity), min(no), max(no) FROM reservations GROUP BY saga_id",
    "payments": "SELECT saga_id::text, count(*), sum(amount_cents), min(no), max(no) FROM charges GROUP BY saga_id",
    "shipping": "SELECT saga_id::text, count(*), count(*), min(no), max(no) FROM parcels GROUP BY saga_id",
}
UNMADE: Final = {
    "inventory": "SELECT saga_id::text, count(*), sum(quantity), min(no), max(no) FROM releases GROUP BY saga_id",
    "payments": "SELECT saga_id::text, count(*), sum(amount_cents), min(no), max(no) FROM refunds GROUP BY saga_id",
}

# Goods and cards whose books do not add up: what there was, less what there is, is what was taken and not given back.
STOCK_OFF = """
    SELECT sku, opening - on_hand, coalesce(taken.pieces, 0) - coalesce(given.pieces, 0)
    FROM stock
    FULL JOIN (SELECT sku, sum(quantity) AS pieces FROM reservations GROUP BY sku) AS taken USING (sku)
    FULL JOIN (SELECT sku, sum(quantity) AS pieces FROM releases GROUP BY sku) AS given USING (sku)
    WHERE (opening - on_hand) IS DISTINCT FROM coalesce(taken.pieces, 0) - coalesce(given.pieces, 0)
"""
CARDS_OFF = """
    SELECT card, opening_cents - balance_cents, coalesce(taken.cents, 0) - coalesce(given.cents, 0)
    FROM accounts
    FULL JOIN (SELECT card, sum(amount_cents) AS cents FROM charges GROUP BY card) AS taken USING (card)
    FULL JOIN (SELECT card, sum(amount_cents) AS cents FROM refunds GROUP BY card) AS given USING (card)
    WHERE (opening_cents - balance_cents) IS DISTINCT FROM coalesce(taken.cents, 0) - coalesce(given.cents, 0)
"""
STOCK_TAKEN = "SELECT coalesce(sum(opening - on_hand), 0) FROM stock"
CARDS_TAKEN = "SELECT coalesce(sum(opening_cents - balance_cents), 0) FROM accounts"

PATHS: Final[Mapping[str, str]] = {"inventory": "reserve", "payments": "charge", "shipping": "dispatch"}


@dataclass(frozen=True, slots=True)
class Databases:
    """The five databases of a run."""

    coordinator: Engine
    front: Engine
    inventory: Engine
    payments: Engine
    shipping: Engine

    def participants(self) -> dict[str, Engine]:
        """The participants' databases by name."""
        return {"inventory": self.inventory, "payments": self.payments, "shipping": self.shipping}

    def all(self) -> dict[str, Engine]:
        """Every database by name."""
        return {"coordinator": self.coordinator, "front": self.front, **self.participants()}


class Promise(NamedTuple):
    """An order as the front took it."""

    number: str
    card: str
    lines: int
    pieces: int
    total_cents: int

    def of(self, participant: str) -> tuple[int, int]:
        """Rows and amount that one effect of this order leaves at a participant."""
        match participant:
            case "inventory":
                return self.lines, self.pieces
            case "payments":
                return 1, self.total_cents
            case _:
                return 1, 1


class Header(NamedTuple):
    """A saga's row."""

    status: str
    key: str | None
    seq: int
    stuck_steps: str | None
    error: str | None


class StepRow(NamedTuple):
    """A step's row."""

    phase: str
    op: str
    did: str
    attempt: int


class LogSpan(NamedTuple):
    """How many entries a log has, and from where to where."""

    entries: int
    first: int
    last: int


class Answer(NamedTuple):
    """A barrier row; `at` is when its transaction began."""

    outcome: str
    at: datetime


class Tally(NamedTuple):
    """What one saga left in a participant's journal."""

    rows: int = 0
    amount: int = 0
    first: int = 0
    last: int = 0


NOTHING: Final = Tally()


@dataclass(frozen=True, slots=True, kw_only=True)
class Participated:
    """One participant's side. Keys are saga ids, of the barrier (saga id, op)."""

    made: Mapping[str, Tally]
    unmade: Mapping[str, Tally] = field(default_factory=dict)
    barrier: Mapping[tuple[str, str], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything the checks look at, by saga id where nothing else is said."""

    orders: Mapping[str, Promise]
    sagas: Mapping[str, Header]
    steps: Mapping[tuple[str, str], StepRow]  # by (saga id, path)
    logs: Mapping[str, LogSpan]
    participants: Mapping[str, Participated]
    timers: int
    unsent: Mapping[str, int]  # by database
    stock_off: tuple[tuple[str, int, int], ...]
    cards_off: tuple[tuple[str, int, int], ...]
    stock_taken: int
    cards_taken: int

    def ended(self, status: str) -> Iterable[str]:
        """The sagas that have this status, whose orders are known."""
        return (
            saga for saga, header in self.sagas.items() if header.status == status and saga in self.orders
        )

    def where(self, saga: str) -> str:
        """How to call a saga in a sentence."""
        promise = self.orders.get(saga)
        return f"{promise.number} ({saga})" if promise else saga


def gather(databases: Databases) -> Evidence:
    """Read the evidence, one snapshot per database. Raises: StoreUnavailable."""
    with databases.front.connect() as connection:
        orders = {row[0]: Promise(*row[1:]) for row in connection.exec_driver_sql(ORDERS)}
        unsent = {"front": count(connection, UNSENT["participant"])}
    with databases.coordinator.connect() as connection:
        sagas = {row[0]: Header(*row[1:]) for row in connection.exec_driver_sql(SAGAS)}
        steps = {(row[0], row[1]): StepRow(*row[2:]) for row in connection.exec_driver_sql(STEPS)}
        logs = {row[0]: LogSpan(*row[1:]) for row in connection.exec_driver_sql(LOGS)}
        timers = count(connection, TIMERS)
        unsent["coordinator"] = count(connection, UNSENT["coordinator"])
    participants = {}
    for name, engine in databases.participants().items():
        with engine.connect() as connection:
            participants[name] = participated(connection, name)
            unsent[name] = count(connection, UNSENT["participant"])
    with databases.inventory.connect() as connection:
        stock_off = tuple((row[0], row[1], row[2]) for row in connection.exec_driver_sql(STOCK_OFF))
        stock_taken = count(connection, STOCK_TAKEN)
    with databases.payments.connect() as connection:
        cards_off = tuple((row[0], row[1], row[2]) for row in connection.exec_driver_sql(CARDS_OFF))
        cards_taken = count(connection, CARDS_TAKEN)
    return Evidence(
        orders=orders,
        sagas=sagas,
        steps=steps,
        logs=logs,
        participants=participants,
        timers=timers,
        unsent=unsent,
        stock_off=stock_off,
        cards_off=cards_off,
        stock_taken=stock_taken,
        cards_taken=cards_taken,
    )


def participated(connection: Connection, name: str) -> Participated:
    """One participant's side, from its own database."""
    made = {row[0]: Tally(*map(int, row[1:])) for row in connection.exec_driver_sql(MADE[name])}
    unmade = (
        {row[0]: Tally(*map(int, row[1:])) for row in connection.exec_driver_sql(UNMADE[name])}
        if name in UNMADE
        else {}
    )
    barrier = {
        (saga, op): Answer(outcome, at)
        for saga, path, op, outcome, at in connection.exec_driver_sql(BARRIER)
        if path == PATHS[name]
    }
    return Participated(made=made, unmade=unmade, barrier=barrier)


def count(connection: Connection, sql: str) -> int:
    """The one number that a statement gives."""
    return int(connection.exec_driver_sql(sql).scalar_one())
