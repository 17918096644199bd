"""Placeholders: rows that hold an id, and keep what came for it, until its saga starts (S1).

A signal for an unknown saga inserts one; the start that finds it turns it into its saga. Both need the same row, so one
of two that race waits for the other, and sees what it left. One may also stand for a saga that has another id than its
sender was promised (`promised.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from amends.coordinator.engine import sql
from amends.coordinator.engine.lives import Live
from amends.coordinator.engine.rows import birth_columns
from amends.coordinator.saga.events import Signalled
from amends.coordinator.saga.state import Decision, Saga

PLACEHOLDER: Final = "placeholder"
# Newer than any release knows: one that has not heard of placeholders leaves them to one that has (E3).
_FORMAT: Final = 32_767

# Hold these ids: insert a placeholder, or lock whatever stands. The update never happens, and locks all the same.
HOLD = """
    INSERT INTO amends.saga AS saga (id, name, version, format, status, backwards, input, input_hash, start_message,
        started_ms, clock_ms, seq, head)
    SELECT id, '', 0, %(format)s, 'placeholder', false, 'null'::json, '', '', %(now_ms)s, %(now_ms)s, 0, '{}'::json
    FROM unnest(%(ids)s::uuid[]) AS new (id) ORDER BY id
    ON CONFLICT (id) DO UPDATE SET seq = saga.seq WHERE false
    RETURNING id
"""

# What placeholders keep by now.
KEEP = """
    UPDATE amends.saga AS saga SET head = kept.head::json
    FROM unnest(%(id)s::uuid[], %(head)s::text[]) AS kept (id, head)
    WHERE saga.id = kept.id
"""

# A placeholder's start has come: from now on the row is its saga's.
TURN = """
    UPDATE amends.saga AS saga SET name = new.name, version = new.version, format = new.format, status = new.status,
        backwards = new.backwards, key = new.key, labels = new.labels::jsonb, input = new.input::json,
        input_hash = new.input_hash, start_message = new.start_message, started_ms = new.started_ms,
        clock_ms = new.clock_ms, deadline_ms = new.deadline_ms, seq = new.seq, head = new.head::json,
        stuck_steps = new.stuck_steps::json, error = new.error,
        created_at = to_timestamp(new.started_ms / 1000.0), ended_at = to_timestamp(new.ended_ms / 1000.0),
        parent_id = new.parent_id
    FROM unnest(%(id)s::uuid[], %(name)s::text[], %(version)s::int[], %(format)s::smallint[], %(status)s::text[],
        %(backwards)s::bool[], %(key)s::text[], %(labels)s::text[], %(input)s::text[], %(input_hash)s::text[],
        %(start_message)s::text[], %(started_ms)s::bigint[], %(clock_ms)s::bigint[], %(deadline_ms)s::bigint[],
        %(seq)s::int[], %(head)s::text[], %(stuck_steps)s::text[], %(error)s::text[], %(ended_ms)s::bigint[],
        %(parent_id)s::uuid[])
        AS new (id, name, version, format, status, backwards, key, labels, input, input_hash, start_message,
            started_ms, clock_ms, deadline_ms, seq, head, stuck_steps, error, ended_ms, parent_id)
    WHERE saga.id = new.id
"""

# Nobody started them: given up after a while, some at a time. The lock sees a start that came in the same moment.
# A child that its parent has decided against must not begin later still: its id is spent (K3). So is one that stood for
# a saga, pruned by now: under a definition that makes no key any more a late copy would be another saga (S3).
EXPIRE = """
    WITH old AS (
        SELECT id, head->>'decision' = 'compensate' OR head->>'stands_for' IS NOT NULL AS over
        FROM amends.saga AS placeholder
        WHERE status = 'placeholder' AND created_at < now() - %(age_s)s * interval '1 second'
            AND NOT EXISTS (SELECT FROM amends.saga WHERE saga.id = (placeholder.head->>'stands_for')::uuid)
        ORDER BY id LIMIT %(rows_max)s FOR UPDATE SKIP LOCKED
    ), spent AS (
        INSERT INTO amends.spent_id (id, input_hash) SELECT id, '' FROM old WHERE over
        ON CONFLICT (id) DO NOTHING
    )
    DELETE FROM amends.saga USING old WHERE saga.id = old.id AND saga.status = 'placeholder'
    RETURNING saga.head->>'stands_for' IS NULL
"""

# What stands for a saga stays as long as that does: it is looked at again when it is as old once more.
RENEW = """
    WITH old AS (
        SELECT id FROM amends.saga AS placeholder
        WHERE status = 'placeholder' AND created_at < now() - %(age_s)s * interval '1 second'
            AND EXISTS (SELECT FROM amends.saga WHERE saga.id = (placeholder.head->>'stands_for')::uuid)
        ORDER BY id LIMIT %(rows_max)s FOR UPDATE SKIP LOCKED
    )
    UPDATE amends.saga SET created_at = now() FROM old WHERE saga.id = old.id AND saga.status = 'placeholder'
"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """What came for a saga that has not started: signals, in this order, and its parent's first decision (K3).

    `round` is the highest in which the parent spoke. `stands_for`: the saga that was started under this id
    has that one.
    """

    signals: tuple[Signalled, ...] = ()
    decision: Decision = Decision.NONE
    round: int = 0
    stands_for: str = ""

    def head(self) -> str:
        """As the row keeps it."""
        signals = [{"name": one.name, "id": one.message_id, "payload": one.payload} for one in self.signals]
        kept = {"signals": signals, "decision": self.decision.value, "round": self.round}
        if self.stands_for:
            kept["stands_for"] = self.stands_for
        return _encode(kept).decode()


def read_placeholder(head: str) -> Placeholder:
    """What a row keeps."""
    kept: Mapping[str, Any] = _decode(head)
    signals = (
        Signalled(name=one["name"], message_id=one["id"], payload=one["payload"])
        for one in kept.get("signals", ())
    )
    return Placeholder(
        signals=tuple(signals),
        decision=Decision(kept.get("decision", Decision.NONE.value)),
        round=kept.get("round", 0),
        stands_for=kept.get("stands_for", ""),
    )


def kept_by(rejected: Saga) -> Placeholder:
    """What a rejected start keeps for the one that takes its place: it owns nothing of what came for its id (S2)."""
    signals = tuple(
        Signalled(name=name, message_id=one.id, payload=one.payload)
        for name, kept in rejected.signals.items()
        for one in kept
    )
    round_ = rejected.parent.round if rejected.parent is not None else 0
    return Placeholder(signals=signals, decision=rejected.decision, round=round_)


@dataclass(slots=True)
class Placeholders:
    """The placeholders that one batch has locked, by the id of their saga; `spent` are ids that were pruned (S3)."""

    connection: Connection
    now_ms: int
    standing: dict[str, Placeholder] = field(default_factory=dict)
    spent: set[str] = field(default_factory=set)
    _changed: set[str] = field(default_factory=set)

    def hold(self, ids: Collection[str]) -> None:
        """Lock these ids, whatever stands under them; where nothing does, a placeholder stands from now on."""
        if not ids:
            return
        wanted = {"ids": sorted(ids), "format": _FORMAT, "now_ms": self.now_ms}
        made = {str(row[0]) for row in self.connection.exec_driver_sql(HOLD, wanted).all()}
        if not made:
            return
        # Asked after the insert, which waited for whoever was pruning.
        rows = self.connection.exec_driver_sql(sql.SPENT_IDS, {"ids": sorted(made)}).all()
        spent = {str(row[0]) for row in rows}
        if spent:
            self.connection.exec_driver_sql(sql.DELETE_SAGAS, {"ids": sorted(spent)})
            self.spent |= spent
        self.standing |= {id_: Placeholder() for id_ in made - spent}

    def locked(self, id_: str, head: str) -> None:
        """This one was found when the batch's sagas were locked."""
        self.standing[id_] = read_placeholder(head)

    def keep(self, id_: str, signal: Signalled) -> None:
        """Keep a signal until its saga starts."""
        placeholder = self.standing[id_]
        self.standing[id_] = replace(placeholder, signals=(*placeholder.signals, signal))
        self._changed.add(id_)

    def decide(self, id_: str, wanted: Decision, round_: int) -> Decision:
        """Keep what a parent has decided, unless it had decided before; what stands now (K3)."""
        placeholder = self.standing[id_]
        decision = wanted if placeholder.decision is Decision.NONE else placeholder.decision
        self.standing[id_] = replace(placeholder, decision=decision, round=max(placeholder.round, round_))
        self._changed.add(id_)
        return decision

    def point(self, id_: str, saga_id: str) -> tuple[Signalled, ...]:
        """This one stands for that saga from now on; what came for it until now."""
        early = self.standing[id_].signals
        self.standing[id_] = replace(self.standing[id_], signals=(), stands_for=saga_id)
        self._changed.add(id_)
        return early

    def turn(self, live: Live) -> None:
        """The saga of this placeholder begins in its row."""
        self.connection.exec_driver_sql(TURN, birth_columns([(live.now, live.birth)]))
        del self.standing[live.now.id]
        self._changed.discard(live.now.id)

    def write(self) -> None:
        """Write what is kept by now."""
        ids = sorted(self._changed)
        if ids:
            heads = [self.standing[id_].head() for id_ in ids]
            self.connection.exec_driver_sql(KEEP, {"id": ids, "head": heads})


def expire(connection: Connection, *, age_s: float, rows_max: int) -> int:
    """Delete placeholders that nobody started for so long; how many. Rechecks each under its lock.

    Those that stood for a saga that is gone go with it, and are not counted: nobody has lost anything.
    """
    connection.exec_driver_sql(RENEW, {"age_s": age_s, "rows_max": rows_max})
    wanted = {"age_s": age_s, "rows_max": rows_max}
    return sum(connection.exec_driver_sql(EXPIRE, wanted).scalars())
