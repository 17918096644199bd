"""One batch: the transaction in which sagas advance (E1).

Lock the sagas touched, in id order; then their claimed timers; advance each in memory; write headers, steps, log,
outbox and timers with one statement each. Nothing leaves this process before the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from typing import assert_never
from uuid import UUID

from sqlalchemy import Connection

from amends.coordinator.catalog import Catalog
from amends.coordinator.engine import posting, sql
from amends.coordinator.engine.births import Births
from amends.coordinator.engine.contract import ActAnswer, ActVerdict
from amends.coordinator.engine.firing import Firings
from amends.coordinator.engine.intake import (
    ActItem,
    AdmitItem,
    AnyItem,
    BrokenItem,
    DeadLetterItem,
    DoorItem,
    ReplyItem,
    ReportItem,
    ScheduleItem,
    SignalItem,
    SilentChildItem,
    StartItem,
    TellItem,
    TimerItem,
)
from amends.coordinator.engine.kin import Kin
from amends.coordinator.engine.lives import Advancing, Live
from amends.coordinator.engine.loading import Loading
from amends.coordinator.engine.opening import Opening, touched_by
from amends.coordinator.engine.placeholders import Placeholders
from amends.coordinator.engine.rows import json_text
from amends.coordinator.engine.shelf import Shelf
from amends.coordinator.engine.signalling import Signalling
from amends.coordinator.engine.starts import Starts
from amends.coordinator.engine.timing import HeldTimer, Timing
from amends.coordinator.engine.writing import write
from amends.coordinator.saga.errors import ActRefused, NotLoaded
from amends.coordinator.saga.events import (
    Act,
    Admitted,
    Compensate,
    Edit,
    Finish,
    Force,
    InternalError,
    MoveTimer,
    Retry,
)
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Phase, queue_of
from amends.outbox.dead_letters import dead_letter
from amends.outbox.message import Message, OutboxRow
from amends.outbox.store import OutboxStore


@dataclass(slots=True)
class Outcome:
    """What a batch leaves to be done once its commit is known: in this order, publish, tell, acknowledge."""

    rows: list[OutboxRow] = field(default_factory=list)
    receipts: list[Message] = field(default_factory=list)
    answers: list[Callable[[], None]] = field(default_factory=list)
    newer: list[int] = field(default_factory=list)  # deliveries for sagas of a newer release: not ours (E3)
    lives: list[Live] = field(default_factory=list)  # the sagas of the batch, as they are now
    again: list[Message] = field(default_factory=list)  # to ourselves: starts that wait, signals passed on


class Batch:
    """Decides one batch inside a transaction that the caller opened and commits."""

    def __init__(
        self,
        connection: Connection,
        *,
        catalog: Catalog,
        starts: Starts,
        store: OutboxStore,
        owner: UUID,
        advancing: Advancing,
        shelf: Shelf,
        opening: Opening | None = None,
    ) -> None:
        self._connection = connection
        self._opening = opening or Opening(advancing.now_ms)
        self._store = store
        self._owner = owner
        self._advancing = advancing
        self._gate = advancing.gate
        self._lives: dict[str, Live] = {}
        self._timers: dict[tuple[str, str], HeldTimer] = {}
        self._timing = Timing(advancing)
        self._letters: list[Message] = []
        self.outcome = Outcome()
        self._placeholders = Placeholders(connection, advancing.now_ms)
        self._loading = Loading(connection, catalog, shelf, self._lives, self._placeholders, self._opening)
        self._newer = self._loading.newer
        advancing.load = self._load_now
        self._signalling = Signalling(catalog, advancing, self._placeholders, self.outcome)
        self._kin = Kin(advancing, self._placeholders, self.outcome)
        self._births = Births(
            connection,
            starts,
            advancing,
            lives=self._lives,
            placeholders=self._placeholders,
            signalling=self._signalling,
            kin=self._kin,
            outcome=self.outcome,
        )
        self._firings = Firings(connection, catalog, self._births, advancing)

    def decide(self, items: list[AnyItem]) -> Outcome:
        """Process the items in order and write what they changed."""
        try:
            return self._decide(items)
        finally:
            # It leads back here: all that this batch had in hand would stay until the garbage collector comes by.
            self._advancing.load = None

    def _decide(self, items: list[AnyItem]) -> Outcome:
        starts = [item for item in items if isinstance(item, StartItem)]
        schedules = [item for item in items if isinstance(item, ScheduleItem)]
        if schedules:
            starts += self._firings.lock(schedules)
        touched = touched_by(items)
        early = {item.saga_id for item in items if isinstance(item, SignalItem | TellItem)}

        def meanwhile(born: Collection[str]) -> None:
            if not early:  # These are held before anything is locked.
                self._loading.ask(touched - set(born))

        standing: set[str] = set()
        if starts:
            standing = self._births.insert(
                starts, self._opening.standings if not schedules else None, meanwhile
            )
        self._placeholders.hold(early - self._lives.keys())
        self._loading.lock((touched | standing) - self._lives.keys(), _named(items))
        self._claim([item for item in items if isinstance(item, TimerItem)])
        while items:
            items = self._round(items)
        self._firings.write()
        self._write()
        self.outcome.lives = list(self._lives.values())
        return self.outcome

    def _round(self, items: list[AnyItem]) -> list[AnyItem]:
        """Process the items, but for those of sagas that turn out to need more of their steps: these are read then."""
        left: dict[str, list[AnyItem]] = {}
        needs: dict[str, NotLoaded] = {}
        for item in items:
            if item.saga_id in left:
                left[item.saga_id].append(item)
                continue
            try:
                self._one(item)
            except NotLoaded as need:
                # Its frames hold this batch, which would hold them: nothing would go before the collector comes by.
                left[item.saga_id], needs[item.saga_id] = [item], need.with_traceback(None)
        for saga_id, asked in needs.items():
            self._loading.want(saga_id, asked, len(left[saga_id]))
        self._loading.fetch()
        return [item for of_saga in left.values() for item in of_saga]

    def _load_now(self, live: Live, need: NotLoaded) -> None:
        self._loading.want(live.now.id, need, 1)
        self._loading.fetch()

    def _one(self, item: AnyItem) -> None:
        match item:
            case ReplyItem():
                self._gate.replied(item.queue, self._advancing.now_ms)
                live = self._live(item)
                if live is not None and not live.now.status.ended:
                    self._apply(live, item)
                elif item.event.holds and item.saga_id not in self._newer:
                    # It took its lock late, or heard nothing of the end: the saga may have been pruned since (L4).
                    participant = item.queue.rpartition(".")[0]
                    self._letters.append(posting.end(self._advancing.prefix, item.saga_id, participant))
            case StartItem():
                if item.saga_id in self._newer:
                    self._not_ours(item)
                else:
                    self._births.settle(item)
            case SignalItem() | TellItem() | ReportItem() if item.saga_id in self._newer:
                self._not_ours(item)
            case SignalItem():
                self._signalling.take(item, self._lives.get(item.saga_id))
            case TellItem():
                answer = self._kin.told(item, self._lives.get(item.saga_id))
                if answer is not None:
                    self._letters.append(answer)
            case ReportItem():
                self._kin.reported(item, self._lives.get(item.saga_id))
            case TimerItem():
                timer = self._timers.get((item.saga_id, item.path))
                # Of a saga that is not ours the claim runs out, and another coordinator may take it.
                if timer is not None and item.saga_id not in self._newer:
                    self._timing.fire(self._live(item), timer)
            case AdmitItem():
                live = self._live(item)
                if live is not None:
                    self._admit(live, item)
            case ActItem():
                self._act(item)
            case ScheduleItem():
                self._firings.settle(item, self._newer)
            case BrokenItem():
                self._broken(item)
            case SilentChildItem():
                self._letters.append(self._kin.silent(item.saga_id, item.parent, item.reason))
            case DeadLetterItem():
                self._letters.append(dead_letter(item.delivery, item.reason, prefix=self._advancing.prefix))
                if item.receipt is not None:
                    note = "quarantined"
                    self.outcome.receipts.append(posting.receipt(item.receipt, item.message_id, note))
            case _:
                assert_never(item)

    def _apply(self, live: Live, item: ReplyItem) -> None:
        held = self._gate.held()
        self._advancing.apply(live, replace(item.event, held=held) if held else item.event)

    def _broken(self, item: BrokenItem) -> None:
        live = self._live(item)
        event = InternalError(reason=item.reason, held=self._gate.held())
        stuck = live is not None and self._advancing.apply(live, event)
        if not stuck and item.parent is not None and item.saga_id not in self._newer:
            self._letters.append(self._kin.silent(item.saga_id, item.parent, item.reason))

    def _live(self, item: AnyItem) -> Live | None:
        if item.saga_id in self._newer:
            self._not_ours(item)
            return None
        return self._lives.get(item.saga_id)

    def _not_ours(self, item: AnyItem) -> None:
        """Leave it to a newer coordinator: a message comes again, a door is told to ask another (E3)."""
        if item.tag is not None:
            self.outcome.newer.append(item.tag)
        if isinstance(item, DoorItem) and item.answer is not None:
            answer = item.answer
            reason = f"saga {item.saga_id} is kept as a newer release keeps it; ask a newer coordinator"
            self.outcome.answers.append(lambda: answer.set_exception(CancelledError(reason)))

    def _admit(self, live: Live, item: AdmitItem) -> None:
        step = live.now.steps.get(item.path)
        if step is None:
            return
        queue = queue_of(step.participant, step.op)
        held = self._gate.held() - {queue}
        if step.phase is Phase.PARKED:
            # Admissions are drawn ahead of the batch: whether there is room is decided here.
            if item.probe or self._gate.room(queue) > 0:
                excused = max(0, self._advancing.now_ms - step.since)
                self._advancing.apply(live, Admitted(path=item.path, excused=excused, held=held))
        elif item.probe and step.phase in (Phase.AWAITING, Phase.BACKOFF):
            self._timing.resend(live, item.path, held)

    def _act(self, item: ActItem) -> None:
        live = self._live(item)
        if item.saga_id in self._newer:
            return
        if live is None:
            placeholder = self._placeholders.standing.get(item.saga_id)
            other = placeholder.stands_for if placeholder is not None else ""
            reason = f"no saga {item.saga_id} is known; it may have ended and been pruned"
            if other:
                reason = (
                    f"{item.saga_id} stands for saga {other}, whose key its definition makes; act on that"
                )
            answer = ActAnswer(item.saga_id, ActVerdict.UNKNOWN_SAGA, reason)
        else:
            answer = self._applied(live, item)
        self.outcome.answers.append(lambda: item.answer.set_result(answer))

    def _applied(self, live: Live, item: ActItem) -> ActAnswer:
        act = item.at(max(self._advancing.now_ms, live.now.clock))
        if live.now.status.ended:
            reason = f"the saga has ended: it is {live.now.status.value}, and nothing changes it any more"
            return ActAnswer(item.saga_id, ActVerdict.REFUSED, reason, live.now.status.value)
        try:
            changed = (self._advancing.would if item.dry else self._advancing.apply)(live, act)
        except ActRefused as refusal:
            return ActAnswer(item.saga_id, ActVerdict.REFUSED, str(refusal), live.now.status.value)
        if not changed:
            reason = "nothing to do: nothing is outstanding"
            return ActAnswer(item.saga_id, ActVerdict.REFUSED, reason, live.now.status.value)
        if item.dry:
            return ActAnswer(item.saga_id, ActVerdict.FITS, "", live.now.status.value)
        self._connection.exec_driver_sql(
            sql.AUDIT,
            {
                "actor": act.actor,
                "act": type(act).__name__.lower(),
                "saga_id": item.saga_id,
                "path": None if isinstance(act, Compensate | Finish) else act.path,
                "reason": act.reason.replace("\x00", ""),
                "details": _details(act),
            },
        )
        return ActAnswer(item.saga_id, ActVerdict.APPLIED, "", live.now.status.value)

    def _claim(self, items: list[TimerItem]) -> None:
        if not items:
            return
        rows = self._connection.exec_driver_sql(
            sql.HELD_TIMERS,
            {
                "saga_id": [item.saga_id for item in items],
                "path": [item.path for item in items],
                "token": [item.token for item in items],
            },
        )
        for row in rows.all():
            timer = HeldTimer(str(row[0]), *row[1:])
            self._timers[timer.saga_id, timer.path] = timer

    def _write(self) -> None:
        self._placeholders.write()
        lives = [
            live for live in self._lives.values() if live.now is not live.stored or live.log or live.events
        ]
        letters = self._letters + self.outcome.again
        self.outcome.rows = write(
            self._connection, lives, letters, store=self._store, owner=self._owner, timing=self._timing
        )


def _details(act: Act) -> str | None:
    """What the audit keeps of an act beside actor, step and reason: what it gave. The saga's log ends with the saga."""
    details: dict[str, Json] = {}
    if isinstance(act, Edit):
        details["args"] = act.args
    elif isinstance(act, Force):
        details |= {"refuse": True} if act.refuse else {"result": act.result}
    elif isinstance(act, MoveTimer):
        details["due"] = act.due
    if isinstance(act, Retry | Edit) and act.deadline:
        details["deadline"] = act.deadline
    return json_text(details) if details else None


def _named(items: Iterable[AnyItem]) -> dict[str, set[str]]:
    """The steps that these events are about, by saga."""
    named: dict[str, set[str]] = {}
    for item in items:
        match item:
            case ReplyItem() | ReportItem():
                path = item.event.path
            case TimerItem() | AdmitItem():
                path = item.path
            case _:
                continue
        named.setdefault(item.saga_id, set()).add(path)
    return named
