"""Starts: what becomes of each, before it meets the database's rows (S1, S2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import msgspec
from sqlalchemy import Connection

from amends.coordinator.catalog import Catalog
from amends.coordinator.engine import sql
from amends.coordinator.engine.contract import Verdict
from amends.coordinator.engine.held import HeldStarts
from amends.coordinator.engine.intake import StartItem
from amends.coordinator.engine.reading import parent_of
from amends.coordinator.engine.rows import Birth
from amends.coordinator.inputs import InputRules
from amends.coordinator.rollout import UNHEARD_OF, Standing, Suspension, standings
from amends.coordinator.saga.bounds import VERSION_MAX
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.json import Json, content_hash
from amends.coordinator.saga.machine import begin
from amends.coordinator.saga.starting import Unusable, key_of, labels_of
from amends.coordinator.saga.state import FORMAT, Saga, Status
from amends.outbox.spelling import input_problem, is_participant
from amends.outbox.tracing import switch
from amends.outbox.wire import (
    KEY_CHARS_MAX,
    LABEL_CHARS_MAX,
    LABELS_MAX,
    LABELS_TOGETHER_MAX,
    NAME_CHARS_MAX,
    Start,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a start cannot be accepted. `field` is the input field at fault."""

    verdict: Verdict
    reason: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Embryo:
    """A saga that may begin: its definition, its header before the first event, its birth."""

    definition: Definition | None
    saga: Saga
    birth: Birth


def names_of(items: Iterable[StartItem]) -> set[str]:
    """The names that these starts bring. What PostgreSQL cannot hold is no name that anybody registered."""
    return {item.start.name for item in items if "\x00" not in item.start.name}


class Starts:
    """Examines starts. One per coordinator; the decider's thread only."""

    def __init__(self, catalog: Catalog, *, unknown_version_s: float, again_s: float) -> None:
        self.again_s = again_s
        self.held = HeldStarts()
        self._catalog = catalog
        self._unknown_version_ms = unknown_version_s * 1000
        self._rules = InputRules()
        self._standings: dict[str, Standing] = {}

    def look(self, rows: Iterable[Sequence[Any]]) -> None:
        """See how the names of a batch's starts stand: what `ask_standings` was answered. Before `examine`."""
        self._standings = standings(rows)

    def key_made(self, connection: Connection, item: StartItem) -> str | None:
        """The key that the definition makes for a start that brings none. None also where `examine` tells why not."""
        definition = None if not item.takes_key or _malformed(item) else self._wanted(connection, item.start)
        if definition is None or definition.key is None:
            return None
        try:
            return key_of(definition, msgspec.json.decode(item.start.input))
        except (Unusable, msgspec.DecodeError, RecursionError):
            return None

    def suspended(self, name: str) -> bool:
        """Whether no saga of this name begins."""
        return self._standings.get(name, UNHEARD_OF).suspension is not None

    def _wanted(self, connection: Connection, start: Start) -> Definition | None:
        """The definition that a start asks for, suspended or not; None if there is none."""
        standing = self._standings.get(start.name, UNHEARD_OF)
        version = start.version if start.version is not None else standing.active
        if version is None:
            return None
        return self._catalog.find(connection, start.name, version)

    def examine(self, connection: Connection, item: StartItem, now_ms: int) -> Embryo | Refusal:
        """What this start would begin, or why it cannot."""
        start = item.start
        reason = _malformed(item)
        if reason is not None:
            return Refusal(Verdict.REJECTED, reason)
        try:
            value: Json = msgspec.json.decode(start.input)
        except (msgspec.DecodeError, RecursionError) as error:
            return Refusal(Verdict.REJECTED, f"input: no JSON: {error}")
        unfit = input_problem(value)
        if unfit is not None:
            return Refusal(Verdict.REJECTED, f"input: {unfit}")
        standing = self._standings.get(start.name, UNHEARD_OF)
        if standing.suspension is not None:
            return Refusal(Verdict.SUSPENDED, _held(start.name, standing.suspension))
        definition = self._wanted(connection, start)
        if definition is None:
            return self._unknown(connection, item, now_ms, standing)
        problems = self._rules.problems(definition, value)
        if problems:
            told = "; ".join(f"{one.field or 'input'}: {one.message}" for one in problems)
            reason = f"input does not fit {start.name!r}: {told}"
            return Refusal(Verdict.REJECTED, reason, problems[0].field)
        try:
            if item.takes_key:
                key_of(definition, value)  # Had it made one, the start would have it by now.
            labels = _together(labels_of(definition, value), start.labels)
        except Unusable as unusable:
            return Refusal(Verdict.REJECTED, f"saga {start.name!r}: {unusable}", unusable.field)
        reason = _bad_labels(labels, LABELS_TOGETHER_MAX)
        if reason is not None:
            return Refusal(Verdict.REJECTED, f"saga {start.name!r}, with those of its definition: {reason}")
        parent = parent_of(start.parent) if start.parent is not None else None
        if parent is not None and parent.holds and definition.plan.pivot is not None:
            reason = (
                f"saga {start.name!r} has a pivot, and is called before its parent's: what is past a pivot cannot be "
                f"compensated; call it as the pivot, or after it"
            )
            return Refusal(Verdict.REJECTED, reason)
        saga = begin(definition, id=item.saga_id, input=value, labels=labels, now=now_ms, parent=parent)
        if not item.trace and switch.tracing is not None:
            # A schedule's, or one over HTTP without a trace: its steps still belong together.
            item.trace = switch.tracing.begun(f"start {start.name}", {"amends.saga": item.saga_id})
        if item.trace:
            saga = dataclasses.replace(saga, trace=item.trace)
        if start.finished is not None:
            saga = dataclasses.replace(saga, told=start.finished, format=FORMAT)
        return Embryo(definition, saga, _birth(item, value))

    def _unknown(self, connection: Connection, item: StartItem, now_ms: int, standing: Standing) -> Refusal:
        start = item.start
        what = f"saga {start.name!r}" + (f" version {start.version}" if start.version is not None else "")
        reason = f"{what} is not registered; register it with `amends apply module:saga`"
        if not item.is_message:
            return Refusal(Verdict.UNKNOWN_DEFINITION, reason)
        # By our clock, from when it reached us: it may have been in an outbox for long, and `sent_at` is not our word.
        seen = {"id": item.saga_id, "message_id": item.message_id}
        first_seen_ms = connection.exec_driver_sql(sql.FIRST_SEEN, seen).scalar_one()
        # While its name was suspended it could not be seen whether the version is known.
        waited_ms = now_ms - max(first_seen_ms, standing.resumed_ms)
        late = waited_ms > self._unknown_version_ms
        return Refusal(Verdict.REJECTED if late else Verdict.UNKNOWN_DEFINITION, reason)


def _held(name: str, suspension: Suspension) -> str:
    since = suspension.since.astimezone(UTC).isoformat(timespec="seconds")
    why = f" ({suspension.reason})" if suspension.reason else ""
    return (
        f"saga {name!r} is suspended since {since} by {suspension.actor}{why}; nothing was stored: "
        f"start it again after `amends definitions resume {name}`"
    )


def rejected(item: StartItem, refusal: Refusal, now_ms: int) -> Embryo:
    """A start that could not be accepted, as the row that keeps it: told, counted, owning no key (S2)."""
    start = item.start
    try:
        value: Json = msgspec.json.decode(start.input)
    except (msgspec.DecodeError, RecursionError):
        value = None
    saga = Saga(
        id=item.saga_id,
        name=start.name[:NAME_CHARS_MAX].replace("\x00", ""),
        version=min(max(start.version or 0, 0), VERSION_MAX),
        status=Status.REJECTED,
        input=value,
        labels={},
        started=now_ms,
        clock=now_ms,
        deadline=None,
        cause=refusal.reason,
        parent=parent_of(start.parent) if start.parent is not None else None,
    )
    return Embryo(None, saga, dataclasses.replace(birth_of(item), key=None))


def birth_of(item: StartItem) -> Birth:
    """What the row of this start's saga keeps of it."""
    try:
        return _birth(item, msgspec.json.decode(item.start.input))
    except (msgspec.DecodeError, RecursionError):
        return Birth(key=item.start.key, input_hash="", start_message=item.message_id)


def _birth(item: StartItem, value: Json) -> Birth:
    try:
        hash_ = content_hash(value)
    except (RecursionError, ValueError):
        hash_ = ""
    return Birth(
        key=item.start.key,
        input_hash=hash_,
        start_message=item.message_id,
        input_bytes=len(bytes(item.start.input)),
    )


def _malformed(item: StartItem) -> str | None:
    start = item.start
    if not 0 < len(start.name) <= NAME_CHARS_MAX or "\x00" in start.name:
        return f"name: must have 1 to {NAME_CHARS_MAX} characters and no NUL"
    if start.version is not None and not 1 <= start.version <= VERSION_MAX:
        return f"version: must be 1 to {VERSION_MAX}"
    # A call brings all that its parent has, those of the parent's definition too.
    reason = _bad_labels(start.labels, LABELS_MAX if start.parent is None else LABELS_TOGETHER_MAX)
    if reason is not None:
        return reason
    if start.key is not None and (not start.key or len(start.key) > KEY_CHARS_MAX or "\x00" in start.key):
        return f"key: must have 1 to {KEY_CHARS_MAX} characters and no NUL"
    if start.finished is not None and not is_participant(start.finished):
        return "finished: no participant can have this name"
    return None


def _together(made: Mapping[str, str], brought: Mapping[str, str]) -> dict[str, str]:
    """What the definition makes, and what the start brings, which wins. Only a child's parent may bring too many."""
    room = LABELS_TOGETHER_MAX - len(made)
    others = [name for name in brought if name not in made][:room]
    return {**made, **{name: brought[name] for name in (*(made.keys() & brought.keys()), *others)}}


def _bad_labels(labels: Mapping[str, str], most: int) -> str | None:
    if len(labels) > most:
        return f"labels: {len(labels)}, over the limit of {most}"
    for name, value in labels.items():
        if max(len(name), len(value)) > LABEL_CHARS_MAX or "\x00" in name + value:
            return f"labels/{name[:40]!r}: too long, or has a NUL character"
    return None
