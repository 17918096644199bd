"""Reading and writing barrier rows within an open transaction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection

from amends.db.arrays import Blobs, Plain
from amends.db.errors import UnsupportedDatabase
from amends.db.trips import Statement, one_trip
from amends.outbox.wire import Op
from amends.participants.barrier.answers import NULL
from amends.participants.barrier.rows import BarrierRow, Stand, StepKey
from amends.participants.barrier.sql_mysql import MYSQL
from amends.participants.barrier.sql_postgresql import POSTGRESQL
from amends.participants.barrier.sql_sqlite import SQLITE
from amends.participants.barrier.statements import Statements

DAY_S: Final = 86_400.0
_EVER_S: Final = 1e12
_DIALECTS: Final[Mapping[str, Statements]] = {
    "postgresql": POSTGRESQL,
    "mysql": MYSQL,
    "mariadb": MYSQL,
    "sqlite": SQLITE,
}
_LIMITED: Final = "amends_lock_timeout_s"


class Expired(Exception):
    """The saga is older than what the barrier remembers, and no row of this step is known (B6)."""


class Vanished(Exception):
    """The row that stood in the way was pruned meanwhile: roll back and begin again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a handler's run comes to, to be stored over the row it ran under."""

    stand: Stand
    round: int
    certain: bool = True
    final: bool = False
    reason: str = ""
    args: bytes | None = None
    result: bytes | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """A new do command's wish for its row. `started_at` is when its saga started, milliseconds since 1970."""

    key: StepKey
    round: int
    started_at: int


class BarrierStore:
    """The table `amends_barrier` of one database. No method commits."""

    def __init__(self, dialect: str, *, retention_s: float, lock_timeout_s: float) -> None:
        """Raises: UnsupportedDatabase for a dialect whose SQL is not here."""
        if dialect not in _DIALECTS:
            raise UnsupportedDatabase(f"the barrier knows {' and '.join(sorted(_DIALECTS))}, not {dialect!r}")
        self._sql = _DIALECTS[dialect]
        self._lock_timeout = f"{int(lock_timeout_s * 1000)}ms"
        self._lock_timeout_s = max(1, math.ceil(lock_timeout_s))  # Where they count in whole seconds.
        self._horizon_s = retention_s - DAY_S
        self._savepoint = Statement(self._sql.savepoint)

    def claim_and_save(
        self, connection: Connection, key: StepKey, op: Op, stand: Stand, *, round_: int, started_at: int
    ) -> bool:
        """Insert the row, hold it and begin the part that a refusal undoes, in one round trip; False: `claim` it.

        Waits like `claim`.
        """
        self._limit_session(connection)
        insert = Statement(self._sql.insert, self._wish(key, op, stand, round_, started_at))
        inserted, _ = one_trip(connection, (insert, self._savepoint))
        if inserted.rowcount == 1:
            return True
        # The row that stands is not to be locked inside: what undoes a refusal would let it go.
        self.release(connection)
        return False

    def claim(
        self, connection: Connection, key: StepKey, op: Op, stand: Stand, *, round_: int, started_at: int
    ) -> BarrierRow | None:
        """Insert the row and hold it (None), or hold and give the row that stands.

        Waits for another transaction that holds it, up to the lock timeout; so does every later lock in this
        transaction. `started_at` is when the saga started, milliseconds since 1970.

        Raises: Expired (B6), Vanished.
        """
        self._limit_session(connection)
        parameters = self._wish(key, op, stand, round_, started_at)
        (inserted,) = one_trip(connection, (Statement(self._sql.insert, parameters),))
        if inserted.rowcount == 1:
            return None
        if self._sql.limit_locks is not None:
            connection.exec_driver_sql(self._sql.limit_locks, parameters)
        standing = self.lock(connection, key, op)
        if standing is not None:
            return standing
        too_old, known = connection.exec_driver_sql(self._sql.know, parameters).one()
        if not too_old:
            raise Vanished
        if not known:
            raise Expired
        # The do row says that no row of this step was pruned.
        if connection.exec_driver_sql(self._sql.insert, {**parameters, "horizon_s": _EVER_S}).rowcount == 1:
            return None
        raise Vanished

    def claim_new(self, connection: Connection, claims: Sequence[Claim]) -> set[StepKey]:
        """Insert the do rows of those that are new, and hold them; the keys of these (B7). Then begin a savepoint.

        Waits like `claim`. One that stands already, or that is too old to tell, is not among them.
        """
        if self._sql.insert_many is None:
            self._limit_session(connection)
            # In the order of their keys, so that two batches never deadlock (B7).
            in_order = sorted(claims, key=lambda claim: claim.key)
            new = {claim.key for claim in in_order if self._insert(connection, claim)}
            self.savepoint(connection)
            return new
        values = {
            "sagas": Plain([self._sql.uuid(claim.key.saga) for claim in claims]),
            "paths": Plain([claim.key.path for claim in claims]),
            "rounds": Plain([claim.round for claim in claims]),
            "started_s": Plain([claim.started_at / 1000 for claim in claims]),
            "horizon_s": self._horizon_s,
            "lock_timeout": self._lock_timeout,
        }
        inserted, _ = one_trip(connection, (Statement(self._sql.insert_many, values), self._savepoint))
        return {StepKey(saga, path) for saga, path in inserted.rows}

    def settling_new(self, settled: Mapping[StepKey, Settled]) -> list[Statement]:
        """What writes what became of rows that `claim_new` inserted: all are done."""
        if self._sql.settle_many is None:
            return [self.settling(key, Op.DO, one) for key, one in settled.items()]
        values = {
            "sagas": Plain([self._sql.uuid(key.saga) for key in settled]),
            "paths": Plain([key.path for key in settled]),
            "rounds": Plain([one.round for one in settled.values()]),
            "args": Blobs([one.args or NULL for one in settled.values()]),
            "results": Blobs([one.result or NULL for one in settled.values()]),
        }
        return [Statement(self._sql.settle_many, values)]

    def lock(self, connection: Connection, key: StepKey, op: Op) -> BarrierRow | None:
        """The row that stands, held until the transaction ends."""
        return self._row(connection, self._sql.lock, key, op)

    def read(self, connection: Connection, key: StepKey, op: Op) -> BarrierRow | None:
        """The row that stands, not held."""
        return self._row(connection, self._sql.read, key, op)

    def settle(self, connection: Connection, key: StepKey, op: Op, settled: Settled) -> None:
        """Write what became of a held row."""
        connection.exec_driver_sql(*self.settling(key, op, settled))

    def settling(self, key: StepKey, op: Op, settled: Settled) -> Statement:
        """What writes what became of a held row."""
        return Statement(self._sql.settle, {**self._key(key, op), **_values(settled)})

    def finalize(self, connection: Connection, key: StepKey, reason: str) -> None:
        """Make a held `refused` final, and a held, lapsed `calling` a final refusal in doubt."""
        connection.exec_driver_sql(self._sql.finalize, {**self._key(key, Op.DO), "reason": reason})

    def leasing(
        self, key: StepKey, *, token: UUID, lease_s: float, round_: int, args: bytes, calls: int
    ) -> Statement:
        """What writes the intent of an external call over a held row: under way for `lease_s` seconds from then."""
        return Statement(
            self._sql.lease,
            {
                **self._key(key, Op.DO),
                "token": self._sql.uuid(token),
                "lease_s": lease_s,
                "round": round_,
                "args": args,
                "calls": calls,
            },
        )

    def own_and_save(self, connection: Connection, key: StepKey, token: UUID) -> bool:
        """Hold the row of one's own call and begin the part that a refusal undoes, in one round trip.

        False if the call was settled or taken over: then roll back.
        """
        parameters = {
            **self._key(key, Op.DO),
            "token": self._sql.uuid(token),
            "lock_timeout": self._lock_timeout,
        }
        self._limit_session(connection)
        limits = [] if self._sql.limit_locks is None else [Statement(self._sql.limit_locks, parameters)]
        told = one_trip(connection, (*limits, Statement(self._sql.own, parameters), self._savepoint))
        return bool(told[len(limits)].rows)

    def end_lease(self, connection: Connection, key: StepKey, token: UUID) -> None:
        """Let another attempt make the call again at once."""
        parameters = {**self._key(key, Op.DO), "token": self._sql.uuid(token)}
        connection.exec_driver_sql(self._sql.end_lease, parameters)

    def savepoint(self, connection: Connection) -> None:
        """Begin the part that a refusal undoes."""
        connection.exec_driver_sql(self._sql.savepoint)

    @property
    def releasing(self) -> Statement:
        """What keeps what was done since the savepoint."""
        return Statement(self._sql.release)

    def release(self, connection: Connection) -> None:
        """Keep what was done since the savepoint. Fails if the savepoint's transaction is over."""
        connection.exec_driver_sql(self._sql.release)

    def rollback_to(self, connection: Connection) -> None:
        """Undo what was done since the savepoint. Fails if the savepoint's transaction is over."""
        connection.exec_driver_sql(self._sql.rollback_to)

    def _limit_session(self, connection: Connection) -> None:
        """Limit the waits for locks where that belongs to a session, unless it was done."""
        limit = self._sql.limit_session
        if limit is not None and connection.info.get(_LIMITED) != self._lock_timeout_s:
            connection.exec_driver_sql(limit, {"lock_timeout_s": self._lock_timeout_s})
            connection.info[_LIMITED] = self._lock_timeout_s

    def _wish(self, key: StepKey, op: Op, stand: Stand, round_: int, started_at: int) -> dict[str, Any]:
        return {
            **self._key(key, op),
            "round": round_,
            "stand": stand.value,
            "started_s": started_at / 1000,
            "horizon_s": self._horizon_s,
            "lock_timeout": self._lock_timeout,
        }

    def _insert(self, connection: Connection, claim: Claim) -> bool:
        parameters = {
            **self._key(claim.key, Op.DO),
            "round": claim.round,
            "stand": Stand.CALLING.value,
            "started_s": claim.started_at / 1000,
            "horizon_s": self._horizon_s,
        }
        return connection.exec_driver_sql(self._sql.insert, parameters).rowcount == 1

    def _key(self, key: StepKey, op: Op) -> dict[str, Any]:
        return {"saga": self._sql.uuid(key.saga), "path": key.path, "op": op.value}

    def _row(self, connection: Connection, sql: str, key: StepKey, op: Op) -> BarrierRow | None:
        found = connection.exec_driver_sql(sql, self._key(key, op)).first()
        if found is None:
            return None
        return BarrierRow(
            round=found.round,
            stand=Stand(found.outcome),
            certain=bool(found.certain),
            final=bool(found.final),
            reason=found.reason,
            args=found.args,
            result=found.result,
            calls=found.calls,
            lease_left_s=found.lease_left_s,
            holds=bool(found.holds),
        )


def _values(settled: Settled) -> dict[str, Any]:
    return {
        "stand": settled.stand.value,
        "round": settled.round,
        "certain": settled.certain,
        "final": settled.final,
        "reason": settled.reason,
        "args": settled.args,
        "result": settled.result,
        "calls": settled.calls,
    }
