"""Sagas and steps as table rows, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from amends.coordinator.engine.heads import head_text, read_head
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Did, Op, Phase, Saga, Status, Step, queue_of

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
    columns: Columns = {name: [] for name in _CHANGING}
    for saga in sagas:
        columns["id"].append(saga.id)
        columns["status"].append(saga.status.value)
        columns["backwards"].append(saga.backwards)
        columns["clock_ms"].append(saga.clock)
        columns["deadline_ms"].append(saga.deadline)
        columns["seq"].append(saga.seq)
        columns["head"].append(head_text(saga))
        columns["stuck_steps"].append(_stuck_text(saga))
        columns["error"].append(saga.cause.replace("\x00", "") or None)
        columns["ended_ms"].append(saga.clock if saga.status.ended else None)
    return columns


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
)


def birth_columns(births: Iterable[tuple[Saga, Birth]]) -> Columns:
    """The columns that INSERT_SAGAS writes."""
    pairs = list(births)
    columns = saga_columns(saga for saga, _ in pairs)
    columns["name"] = [saga.name for saga, _ in pairs]
    columns["version"] = [saga.version for saga, _ in pairs]
    columns["format"] = [saga.format for saga, _ in pairs]
    columns["key"] = [birth.key for _, birth in pairs]
    columns["labels"] = [_encode(saga.labels).decode() for saga, _ in pairs]
    columns["input"] = [json_text(saga.input) for saga, _ in pairs]
    columns["input_hash"] = [birth.input_hash for _, birth in pairs]
    columns["start_message"] = [birth.start_message for _, birth in pairs]
    columns["started_ms"] = [saga.started for saga, _ in pairs]
    columns["parent_id"] = [saga.parent.saga if saga.parent is not None else None for saga, _ in pairs]
    return columns


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
    columns: Columns = {name: [] for name in _STEP_COLUMNS}
    for saga_id, step in sorted(changed, key=lambda one: (one[0], one[1].path)):
        extra = {
            name: value
            for name, default in _EXTRA_DEFAULTS.items()
            if (value := getattr(step, name)) != default
        }
        columns["saga_id"].append(saga_id)
        columns["path"].append(step.path)
        columns["node"].append(step.node)
        columns["queue"].append(queue_of(step.participant, step.op))
        columns["phase"].append(step.phase.value)
        columns["op"].append(step.op.value)
        columns["closes"].append(step.closes.value if step.closes is not None else None)
        columns["round"].append(step.round)
        columns["attempt"].append(step.attempt)
        columns["spent"].append(step.spent)
        columns["since_ms"].append(step.since)
        columns["due_ms"].append(step.due)
        columns["did"].append(step.did.value)
        columns["result"].append(json_text(step.result) if step.result is not None else None)
        columns["error"].append(step.error.replace("\x00", "") or None)
        columns["extra"].append(_encode(extra).decode() if extra else None)
    return columns
