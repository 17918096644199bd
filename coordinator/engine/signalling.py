"""Signals, as they reach a saga: taken, kept for later, or turned away (S1, S3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

import msgspec

from amends.coordinator.catalog import Catalog
from amends.coordinator.engine import posting, sql
from amends.coordinator.engine.contract import SignalAnswer, SignalVerdict
from amends.coordinator.engine.intake import SignalItem
from amends.coordinator.engine.lives import Advancing, Live
from amends.coordinator.engine.placeholders import Placeholders
from amends.coordinator.saga.bounds import SIGNALS_MAX
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.events import Signalled
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.signals import Hearing, hearing, paths_of
from amends.coordinator.saga.state import Kept, Saga, Status
from amends.outbox.errors import MalformedMessage
from amends.outbox.spelling import payload_problem, signal_id_problem, signal_name_problem
from amends.outbox.wire import SIGNAL_BYTES_MAX

if TYPE_CHECKING:
    from amends.coordinator.engine.batch import Outcome

log = logging.getLogger(__name__)

KEPT_BYTES_MAX: Final = 1_048_576  # of all payloads that one saga keeps
_FULL: Final = (
    f"{SIGNALS_MAX:,} signals that nobody has taken yet are kept, which is the limit; send it again later"
)

_encode = msgspec.json.Encoder().encode


def signal_of(name: str, message_id: str, payload: bytes) -> Signalled:
    """The event of a signal. Raises: MalformedMessage for a name, an id or a payload that cannot be one."""
    problem = signal_name_problem(name)
    if problem is not None:
        raise MalformedMessage(f"name: {problem}")
    problem = signal_id_problem(message_id)
    if problem is not None:
        raise MalformedMessage(f"id: {problem}")
    if len(payload) > SIGNAL_BYTES_MAX:
        raise MalformedMessage(f"payload: {len(payload):,} bytes, over the limit of {SIGNAL_BYTES_MAX:,}")
    try:
        value: Json = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"payload: no JSON: {error}") from error
    problem = payload_problem(value)
    if problem is not None:
        raise MalformedMessage(f"payload: {problem}")
    return Signalled(name=name, message_id=message_id, payload=value)


class Signalling:
    """Takes the signals of one batch."""

    def __init__(
        self, catalog: Catalog, advancing: Advancing, placeholders: Placeholders, outcome: Outcome
    ) -> None:
        self._catalog = catalog
        self._advancing = advancing
        self._placeholders = placeholders
        self._outcome = outcome

    def take(self, item: SignalItem, live: Live | None) -> None:
        """Give one signal to its saga, or keep it; tell whoever waits what became of it."""
        verdict, reason = self._to_saga(live, item.event) if live is not None else self._to_nobody(item)
        observer = self._advancing.observer
        self._advancing.told.append(lambda: observer.signal(verdict.value))
        if item.answer is not None:
            status = live.now.status.value if live is not None else None
            self._outcome.answers.append(_resolve(item, SignalAnswer(item.saga_id, verdict, reason, status)))
        elif verdict not in (SignalVerdict.ACCEPTED, SignalVerdict.KEPT, SignalVerdict.DUPLICATE):
            # Nobody else is told: whoever put it has gone on.
            told = {"saga_id": item.saga_id, "signal": item.event.name, "reason": reason}
            # Without a receipt it stays in its sender's outbox, and comes again (O1).
            what = "signal_waits" if verdict.waits and item.receipt is not None else "signal_turned_away"
            self._advancing.told.append(lambda: log.warning(what, extra=told))
        if item.receipt is not None and not verdict.waits:
            self._outcome.receipts.append(posting.receipt(item.receipt, item.message_id, verdict.value))

    def grown(self, live: Live, early: Iterable[Signalled]) -> None:
        """Give a saga that has just begun what came before it, in that order.

        A rejected start keeps it, for the one that takes its place (S1, S2).
        """
        if live.definition is None:
            for signal in early:
                live.now = _keeping(live.now, signal)
            return
        for signal in early:
            if not self._advancing.apply(live, replace(signal, held=self._advancing.gate.held())):
                told = {"saga_id": live.now.id, "signal": signal.name, "reason": "no wait is there for it"}
                log.warning("signal_turned_away", extra=told)

    def pass_on(self, saga_id: str, signals: Iterable[Signalled]) -> None:
        """Send on what came for an id that stands for this saga, which may not be locked here."""
        prefix = self._advancing.prefix
        self._outcome.again += [posting.signal_again(prefix, saga_id, signal) for signal in signals]

    def _to_saga(self, live: Live, event: Signalled) -> tuple[SignalVerdict, str]:
        saga, definition = live.now, live.definition
        if saga.status is Status.REJECTED:
            return self._to_rejected(live, event)
        if saga.status.ended or definition is None:
            if self._had(saga, event):
                return SignalVerdict.DUPLICATE, ""
            return SignalVerdict.ENDED, f"the saga has ended: it is {saga.status.value}"
        match hearing(definition, saga, event):
            case Hearing.COPY:
                return SignalVerdict.DUPLICATE, ""
            case Hearing.UNAWAITED:
                return SignalVerdict.UNKNOWN_SIGNAL, _waits_of(definition, event.name)
            case Hearing.LATE:
                return SignalVerdict.ENDED, "the saga compensates: it will not wait for anything any more"
            case Hearing.FULL:
                return SignalVerdict.TOO_MANY, _FULL
            case Hearing.KEPT if problem := _too_large(_kept(saga), event):
                return SignalVerdict.TOO_MANY, problem
            case Hearing.KEPT | Hearing.TAKEN:
                self._advancing.apply(live, replace(event, held=self._advancing.gate.held()))
                return SignalVerdict.ACCEPTED, ""
            case never:
                assert_never(never)

    def _had(self, saga: Saga, event: Signalled) -> bool:
        """Whether a saga that has ended took or kept this very signal: its sender is not told that it was too late."""
        if _is_kept(saga, event):
            return True
        connection = self._placeholders.connection
        definition = self._catalog.find(connection, saga.name, saga.version)
        paths = paths_of(definition, event.name) if definition is not None else []
        looked_for = {"id": saga.id, "paths": paths, "message_id": event.message_id}
        return connection.exec_driver_sql(sql.TOOK, looked_for).first() is not None

    def _to_rejected(self, live: Live, event: Signalled) -> tuple[SignalVerdict, str]:
        """Its start owns no key, and another may take its place: until then it is kept as by a placeholder (S2)."""
        if _is_kept(live.now, event):
            return SignalVerdict.DUPLICATE, ""
        problem = _too_much(_kept(live.now), event)
        if problem is not None:
            return SignalVerdict.TOO_MANY, problem
        live.now = _keeping(live.now, event)
        return SignalVerdict.KEPT, ""

    def _to_nobody(self, item: SignalItem) -> tuple[SignalVerdict, str]:
        placeholder = self._placeholders.standing.get(item.saga_id)
        if placeholder is None:
            return SignalVerdict.PRUNED, f"saga {item.saga_id} has ended and was pruned"
        if placeholder.stands_for:
            self.pass_on(placeholder.stands_for, [item.event])
            return SignalVerdict.KEPT, ""
        same = (item.event.name, item.event.message_id)
        if any((signal.name, signal.message_id) == same for signal in placeholder.signals):
            return SignalVerdict.DUPLICATE, ""
        kept = [Kept(id=one.message_id, payload=one.payload) for one in placeholder.signals]
        problem = _too_much(kept, item.event)
        if problem is not None:
            return SignalVerdict.TOO_MANY, problem
        self._placeholders.keep(item.saga_id, item.event)
        return SignalVerdict.KEPT, ""


def _kept(saga: Saga) -> list[Kept]:
    return [one for kept in saga.signals.values() for one in kept]


def _is_kept(saga: Saga, event: Signalled) -> bool:
    return any(one.id == event.message_id for one in saga.signals.get(event.name, ()))


def _keeping(saga: Saga, event: Signalled) -> Saga:
    one = Kept(id=event.message_id, payload=event.payload)
    return replace(saga, signals={**saga.signals, event.name: (*saga.signals.get(event.name, ()), one)})


def _too_much(kept: list[Kept], event: Signalled) -> str | None:
    return _FULL if len(kept) >= SIGNALS_MAX else _too_large(kept, event)


def _too_large(kept: list[Kept], event: Signalled) -> str | None:
    size = sum(len(_encode(payload)) for payload in (*(one.payload for one in kept), event.payload))
    if size > KEPT_BYTES_MAX:
        return f"the signals that nobody has taken yet would have {size:,} bytes, over the limit of {KEPT_BYTES_MAX:,}"
    return None


def _waits_of(definition: Definition, name: str) -> str:
    waits = {
        signal + "/N" * len(place.eaches)
        for signal, places in definition.plan.by_signal.items()
        for place in places
    }
    listed = ", ".join(sorted(waits)) or "nothing"
    numbers = "; N is the number of an item, from 0" if any("/" in wait for wait in waits) else ""
    return (
        f"saga {definition.name!r} version {definition.version} does not wait for {name!r}; "
        f"it waits for: {listed}{numbers}"
    )


def _resolve(item: SignalItem, answer: SignalAnswer) -> Callable[[], None]:
    def resolve() -> None:
        if item.answer is not None:
            item.answer.set_result(answer)

    return resolve
