"""What each of the engine's statements does to the modelled tables, so that the engine's own batches run on them.

One function a statement, in the order of `amends.coordinator.engine.sql`; a statement that is not here is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from amends.coordinator import catalog, rollout
from amends.coordinator.engine import placeholders, sql
from amends.coordinator.simulating import statements_gates, statements_timers
from amends.coordinator.simulating.tables import Entry, SagaRow, Tables

Values: TypeAlias = Mapping[str, Any]
Statement: TypeAlias = Callable[[Tables, Values], Sequence[Any]]


class Result:
    """What a statement gives, as the engine reads it."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    @property
    def rowcount(self) -> int:
        """How many rows it touched."""
        return len(self._rows)

    def all(self) -> Sequence[Any]:
        """Every row."""
        return self._rows

    def first(self) -> Any:
        """The first row, or None."""
        return self._rows[0] if self._rows else None

    def scalars(self) -> Sequence[Any]:
        """The first value of each row."""
        return [row[0] for row in self._rows]

    def scalar(self) -> Any:
        """The first value, or None."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """The only value."""
        (row,) = self._rows
        return row[0]


class Session:
    """Stands where the engine expects a connection with an open transaction."""

    __slots__ = ("tables",)

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def exec_driver_sql(self, statement: str, values: Values | None = None) -> Result:
        """Do what a statement does."""
        return Result(STATEMENTS[statement](self.tables, values or {}))


class _Head(NamedTuple):
    id: str
    format: int
    status: str
    seq: int
    clock_ms: int
    deadline_ms: int | None
    started_ms: int
    head: str | None


def _now(tables: Tables, _: Values) -> Sequence[Any]:
    return ((tables.now(),),)


def _lock_heads(tables: Tables, values: Values) -> Sequence[Any]:
    return [
        _Head(
            row.id,
            row.format,
            row.status,
            row.seq,
            row.clock_ms,
            row.deadline_ms,
            row.started_ms,
            row.head if row.status == placeholders.PLACEHOLDER else None,
        )
        for row in _standing(tables, values["ids"])
    ]


def _read_sagas(tables: Tables, values: Values) -> Sequence[Any]:
    return [row[:15] for row in _standing(tables, values["ids"])]


def _standing(tables: Tables, ids: Sequence[str]) -> list[SagaRow]:
    return [tables.sagas[id_] for id_ in sorted(ids) if id_ in tables.sagas]


def _insert_sagas(tables: Tables, values: Values) -> Sequence[Any]:
    inserted = []
    for number, id_ in enumerate(values["id"]):
        if id_ not in tables.sagas:
            tables.journal.put(tables.sagas, id_, _born(values, number))
            inserted.append((id_,))
    return inserted


_OF_BIRTH: Final = tuple(name for name in SagaRow._fields if name != "created_ms")


def _born(values: Values, number: int) -> SagaRow:
    one = {name: values[name][number] for name in _OF_BIRTH}
    return SagaRow(**one, created_ms=one["started_ms"])


def _turn(tables: Tables, values: Values) -> Sequence[Any]:
    for number, id_ in enumerate(values["id"]):
        tables.journal.put(tables.sagas, id_, _born(values, number))
    return ()


_CHANGING: Final = (
    "status",
    "backwards",
    "clock_ms",
    "deadline_ms",
    "seq",
    "head",
    "stuck_steps",
    "ended_ms",
    "format",
)


def _update_sagas(tables: Tables, values: Values) -> Sequence[Any]:
    for number, id_ in enumerate(values["id"]):
        changed = {name: values[name][number] for name in _CHANGING}
        tables.journal.put(tables.sagas, id_, tables.sagas[id_]._replace(**changed))
    return ()


_SOME: Final = ("whole", "open", "saga_id", "path")


def _load_some_steps(tables: Tables, values: Values) -> Sequence[Any]:
    whole, open_, ids, paths = (values[name] for name in _SOME)
    found = [row for id_ in whole for row in tables.steps.get(id_, {}).values()]
    found += [row for id_ in open_ for row in tables.steps.get(id_, {}).values() if row[4] != "settled"]
    for id_, path in zip(ids, paths, strict=True):
        row = tables.steps.get(id_, {}).get(path)
        if row is not None:
            found.append(row)
    return found


def _save_steps(tables: Tables, values: Values) -> Sequence[Any]:
    for row in zip(*values.values(), strict=True):
        if row[0] not in tables.steps:
            tables.journal.put(tables.steps, row[0], {})
        tables.journal.put(tables.steps[row[0]], row[1], row)
    return ()


def _append_log(tables: Tables, values: Values) -> Sequence[Any]:
    for id_, seq, at, event in zip(
        values["saga_id"], values["seq"], values["at_ms"], values["event"], strict=True
    ):
        if id_ not in tables.log:
            tables.journal.put(tables.log, id_, {})
        assert seq not in tables.log[id_], f"10: two entries {seq} in the log of {id_}"
        tables.journal.put(tables.log[id_], seq, Entry(at, event))
        tables.appended.append((id_, seq, Entry(at, event)))
    return ()


def _spent_ids(tables: Tables, values: Values) -> Sequence[Any]:
    return [(id_, tables.spent[id_]) for id_ in values["ids"] if id_ in tables.spent]


def _gone_ids(tables: Tables, values: Values) -> Sequence[Any]:
    gone: list[Any] = [(id_, None) for id_ in values["ids"] if id_ in tables.spent]
    for key in zip(values["ids"], values["messages"], strict=True):
        if key in tables.refused:
            gone.append((key[0], tables.refused[key]))
    return gone


def _first_seen(tables: Tables, values: Values) -> Sequence[Any]:
    key = (values["id"], values["message_id"])
    if key not in tables.unknown:
        tables.journal.put(tables.unknown, key, tables.now())
    return ((tables.unknown[key],),)


def _delete_sagas(tables: Tables, values: Values) -> Sequence[Any]:
    for id_ in values["ids"]:
        tables.delete_saga(id_)
    return ()


def _refused_before(tables: Tables, values: Values) -> Sequence[Any]:
    reason = tables.refused.get((values["id"], values["message_id"]))
    return () if reason is None else ((reason,),)


def _remember_refused(tables: Tables, values: Values) -> Sequence[Any]:
    tables.journal.put(tables.refused, (values["id"], values["message_id"]), values["reason"])
    return ()


def _took(tables: Tables, values: Values) -> Sequence[Any]:
    extras = (step[15] for step in tables.steps.get(values["id"], {}).values())
    took = any(extra and json.loads(extra).get("took") == values["message_id"] for extra in extras)
    return ((1,),) if took else ()


def _audit(tables: Tables, values: Values) -> Sequence[Any]:
    tables.journal.put(tables.audit, len(tables.audit), values["act"])
    return ()


def _prune(tables: Tables, values: Values) -> Sequence[Any]:
    before = tables.now() - values["retention_s"] * 1000
    old = []
    for row in tables.sagas.values():
        parent = tables.sagas.get(row.parent_id) if row.parent_id is not None else None
        if row.ended_ms is not None and row.ended_ms < before and (parent is None or parent.ended_ms):
            old.append(row)
    for row in old:
        owned = row.status != "rejected" or row.parent_id is not None
        if owned and row.id not in tables.spent:
            tables.journal.put(tables.spent, row.id, row.input_hash)
        tables.delete_saga(row.id)
    return old


# Placeholders (S1)


def _hold(tables: Tables, values: Values) -> Sequence[Any]:
    made = []
    for id_ in values["ids"]:
        if id_ not in tables.sagas:
            now = values["now_ms"]
            row = SagaRow(
                id=id_,
                name="",
                version=0,
                format=values["format"],
                status=placeholders.PLACEHOLDER,
                backwards=False,
                input="null",
                labels="{}",
                input_hash="",
                start_message="",
                started_ms=now,
                clock_ms=now,
                deadline_ms=None,
                seq=0,
                head="{}",
                created_ms=tables.now(),
            )
            tables.journal.put(tables.sagas, id_, row)
            made.append((id_,))
    return made


def _keep(tables: Tables, values: Values) -> Sequence[Any]:
    for id_, head in zip(values["id"], values["head"], strict=True):
        tables.journal.put(tables.sagas, id_, tables.sagas[id_]._replace(head=head))
    return ()


def _stands_for(tables: Tables, row: SagaRow) -> bool:
    """Whether a placeholder stands for a saga that is there."""
    return json.loads(row.head).get("stands_for", "") in tables.sagas


def _renew(tables: Tables, values: Values) -> Sequence[Any]:
    before = tables.now() - values["age_s"] * 1000
    for row in list(tables.sagas.values()):
        if row.status == placeholders.PLACEHOLDER and row.created_ms < before and _stands_for(tables, row):
            tables.journal.put(tables.sagas, row.id, row._replace(created_ms=tables.now()))
    return ()


def _expire(tables: Tables, values: Values) -> Sequence[Any]:
    before = tables.now() - values["age_s"] * 1000
    old = [
        row
        for row in tables.sagas.values()
        if row.status == placeholders.PLACEHOLDER and row.created_ms < before and not _stands_for(tables, row)
    ]
    counted = []
    for row in old:
        head = json.loads(row.head)
        over = head.get("decision") == "compensate" or "stands_for" in head
        if over and row.id not in tables.spent:
            tables.journal.put(tables.spent, row.id, "")
        tables.delete_saga(row.id)
        counted.append(("stands_for" not in head,))
    return counted


# Definitions


def _standings(tables: Tables, values: Values) -> Sequence[Any]:
    return [(name, tables.active.get(name), None, None, None, None) for name in values["names"]]


def _by_version(tables: Tables, values: Values) -> Sequence[Any]:
    body = tables.bodies.get((values["name"], values["version"]))
    return () if body is None else ((body,),)


def _active_version(tables: Tables, values: Values) -> Sequence[Any]:
    version = tables.active.get(values["name"])
    return () if version is None else ((version, tables.bodies[values["name"], version]),)


def _stands(tables: Tables, values: Values) -> Sequence[Any]:
    name, version = values["name"], values["version"]
    stands = name in tables.active if version is None else (name, version) in tables.bodies
    return ((stands,),)


STATEMENTS: Final[dict[str, Statement]] = {
    sql.NOW_MS: _now,
    sql.LOCK_HEADS: _lock_heads,
    sql.READ_SAGAS: _read_sagas,
    sql.INSERT_SAGAS: _insert_sagas,
    sql.UPDATE_SAGAS: _update_sagas,
    sql.LOAD_SOME_STEPS: _load_some_steps,
    sql.SAVE_STEPS: _save_steps,
    sql.APPEND_LOG: _append_log,
    sql.SPENT_IDS: _spent_ids,
    sql.GONE_IDS: _gone_ids,
    sql.FIRST_SEEN: _first_seen,
    sql.DELETE_SAGAS: _delete_sagas,
    sql.REFUSED_BEFORE: _refused_before,
    sql.REMEMBER_REFUSED: _remember_refused,
    sql.TOOK: _took,
    sql.AUDIT: _audit,
    sql.PRUNE: _prune,
    placeholders.HOLD: _hold,
    placeholders.KEEP: _keep,
    placeholders.TURN: _turn,
    placeholders.RENEW: _renew,
    placeholders.EXPIRE: _expire,
    rollout.STANDINGS: _standings,
    catalog.BY_VERSION: _by_version,
    catalog.ACTIVE_VERSION: _active_version,
    catalog.STANDS: _stands,
    **statements_timers.STATEMENTS,
    **statements_gates.STATEMENTS,
}
