"""Sagas and steps as table rows, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from amends.coordinator.engine.heads import head_text, read_head
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Did, Op, Phase, Saga, Status, Step, queue_of
from amends.db.arrays import Plain, Texts

Columns = dict[str, list[Any]]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def json_text(value: Json) -> str:
    """The JSON text of a value, for a `json` column."""
    return _encode(value).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a start wrote into its saga's row once and for all."""

    key: str | None
    input_hash: str
    start_message: str
    input_bytes: int = 0  # of the input's JSON


def read_saga(row: Sequence[Any]) -> tuple[Saga, Birth]:
    """A header with the columns of `sql.READ_SAGAS`, without its steps."""
    (id_, name, version, format_, status, backwards, input_, labels, input_hash, start_message) = row[:10]
    (started, clock, deadline, seq, head) = row[10:]
    saga = Saga(
        id=str(id_),
        name=name,
        version=version,
        status=Status(status),
        backwards=backwards,
        input=_decode(input_),
        labels=_decode(labels),
        started=started,
        clock=clock,
        deadline=deadline,
        seq=seq,
        format=format_,
        **read_head(head),
    )
    return saga, Birth(key=None, input_hash=input_hash, start_message=start_message, input_bytes=len(input_))


def saga_columns(sagas: Iterable[Saga]) -> Columns:
    """The columns that UPDATE_SAGAS writes."""
    return columns_of(
        _CHANGING,
        [
            (
                saga.id,
                saga.status.value,
                saga.backwards,
                saga.clock,
                saga.deadline,
                saga.seq,
                head_text(saga),
                _stuck_text(saga),
                saga.cause.replace("\x00", "") or None,
                saga.clock if saga.status.ended else None,
                saga.format,
            )
            for saga in sagas
        ],
    )


_CHANGING = (
    "id",
    "status",
    "backwards",
    "clock_ms",
    "deadline_ms",
    "seq",
    "head",
    "stuck_steps",
    "error",
    "ended_ms",
    "format",
)

# Columns of texts that may be long, JSON most of them.
_LONG: Final = frozenset({"head", "stuck_steps", "error", "input", "labels", "result", "extra", "event"})


def columns_of(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Columns:
    """Rows as columns, as a statement takes them."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {
        name: Texts(column) if name in _LONG else Plain(column)
        for name, column in zip(names, columns, strict=True)
    }


def birth_columns(births: Iterable[tuple[Saga, Birth]]) -> Columns:
    """The columns that INSERT_SAGAS writes."""
    pairs = list(births)
    columns = saga_columns(saga for saga, _ in pairs)
    return columns | columns_of(
        _OF_BIRTH,
        [
            (
                saga.name,
                saga.version,
                birth.key,
                _encode(saga.labels).decode(),
                json_text(saga.input),
                birth.input_hash,
                birth.start_message,
                saga.started,
                saga.parent.saga if saga.parent is not None else None,
            )
            for saga, birth in pairs
        ],
    )


_OF_BIRTH = (
    "name",
    "version",
    "key",
    "labels",
    "input",
    "input_hash",
    "start_message",
    "started_ms",
    "parent_id",
)


def _stuck_text(saga: Saga) -> str | None:
    stuck = [{"path": step.path, "reason": step.error} for step in saga.stuck_steps]
    if not stuck and saga.status is Status.STUCK:
        stuck = [{"path": "", "reason": saga.cause}]
    return _encode(stuck).decode() if stuck else None


def read_step(row: Sequence[Any]) -> tuple[str, Step]:
    """A saga id and its step, with the columns of `sql.LOAD_SOME_STEPS`."""
    (
        saga_id,
        path,
        node,
        queue,
        phase,
        op,
        closes,
        round_,
        attempt,
        spent,
        since,
        due,
        did,
        result,
        error,
        extra,
    ) = row
    more = _decode(extra) if extra is not None else {}
    return str(saga_id), Step(
        path=path,
        node=node,
        participant=queue.rpartition(".")[0],
        phase=Phase(phase),
        op=Op(op),
        closes=Op(closes) if closes is not None else None,
        round=round_,
        attempt=attempt,
        spent=spent,
        since=since,
        due=due,
        did=Did(did),
        result=_decode(result) if result is not None else None,
        error=error or "",
        **more,
    )


_STEP_COLUMNS = (
    "saga_id",
    "path",
    "node",
    "queue",
    "phase",
    "op",
    "closes",
    "round",
    "attempt",
    "spent",
    "since_ms",
    "due_ms",
    "did",
    "result",
    "error",
    "extra",
)

# Step fields that are rarely set share one column.
_EXTRA_DEFAULTS: Mapping[str, Json] = {
    "recorded": None,
    "override": None,
    "forces": None,
    "edited": None,
    "child": 0,
    "took": "",
}


def step_columns(changed: Iterable[tuple[str, Step]]) -> Columns:
    """The columns that SAVE_STEPS writes, in (saga, path) order."""
    return columns_of(
        _STEP_COLUMNS,
        [
            (
                saga_id,
                step.path,
                step.node,
                queue_of(step.participant, step.op),
                step.phase.value,
                step.op.value,
                step.closes.value if step.closes is not None else None,
                step.round,
                step.attempt,
                step.spent,
                step.since,
                step.due,
                step.did.value,
                json_text(step.result) if step.result is not None else None,
                step.error.replace("\x00", "") or None,
                _extra_text(step),
            )
            for saga_id, step in sorted(changed, key=lambda one: (one[0], one[1].path))
        ],
    )


def _extra_text(step: Step) -> str | None:
    extra = {
        name: value for name, default in _EXTRA_DEFAULTS.items() if (value := getattr(step, name)) != default
    }
    return _encode(extra).decode() if extra else None
