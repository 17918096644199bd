"""The sagas of one batch, in memory: what they were, what they are now, what that asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from amends.coordinator.engine import kin, posting
from amends.coordinator.engine.gate import Gate
from amends.coordinator.engine.journal import encode_event
from amends.coordinator.engine.rows import Birth
from amends.coordinator.observer import Observer
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import (
    AttemptClosed,
    Call,
    Effect,
    Ended,
    LetGo,
    Publish,
    Report,
    Send,
    StepStuck,
    Tell,
)
from amends.coordinator.saga.errors import NotLoaded
from amends.coordinator.saga.events import Event, Unsendable
from amends.coordinator.saga.machine import advance, last_words
from amends.coordinator.saga.state import Saga, Status, Step
from amends.outbox.message import Message
from amends.outbox.wire import event_id_of


@dataclass(slots=True, kw_only=True)
class Live:
    """One saga in this batch. `stored` is as it was before the batch, None if it was born in it.

    `written` is what its row holds by now: of a saga born in this batch the state after its first event.
    """

    definition: Definition | None
    stored: Saga | None
    now: Saga
    birth: Birth
    written: Saga | None = None
    log: list[tuple[int, int, str]] = field(default_factory=list)
    sends: list[tuple[Send, Message]] = field(default_factory=list)
    events: list[Message] = field(default_factory=list)

    def add_steps(self, found: Mapping[str, Step], *, absent: Iterable[str], has_open: bool) -> None:
        """Steps were read that are not here yet, and of `absent` there are none. Nothing has changed by that."""
        now = self.now
        fresh = {path: step for path, step in found.items() if path not in now.steps}
        known = {
            "has_open": now.has_open or has_open,
            "absent": now.absent.union(absent) if now.partial else now.absent,
        }
        grown = replace(now, steps={**now.steps, **fresh}, **known)  # type: ignore[arg-type]
        if self.stored is now:
            self.stored = grown
        elif self.stored is not None:
            self.stored = replace(self.stored, steps={**self.stored.steps, **fresh})
        if self.written is now:
            self.written = grown
        self.now = grown

    def changed_steps(self) -> list[tuple[Step | None, Step]]:
        """The steps that differ from what is stored: (before, now)."""
        before = self.stored.steps if self.stored is not None else {}
        return [
            (before.get(path), step) for path, step in self.now.steps.items() if step is not before.get(path)
        ]


@dataclass(slots=True)
class Advancing:
    """Advances sagas, one event at a time, and gathers what their effects ask for."""

    prefix: str
    body_bytes_max: int
    gate: Gate
    observer: Observer
    now_ms: int
    load: Callable[[Live, NotLoaded], None] | None = None
    told: list[Callable[[], None]] = field(default_factory=list)
    moved: list[tuple[Step | None, Step]] = field(default_factory=list)

    def apply(self, live: Live, event: Event) -> bool:
        """Give a saga one event. False if it changed nothing.

        Raises: ActRefused for an operator's act that does not fit. NotLoaded if more of the saga is needed; then
        nothing has changed, and the event is to be given again.
        """
        before = live.now
        if live.definition is None:
            self._tell_kin(live, last_words(before, event))
            return False
        after, effects = advance(live.definition, before, event, self.now_ms)
        if after is before:
            self._tell_kin(live, effects)  # Asked again, it says again what stands (K3).
            return False
        live.now = after
        live.log.append((after.seq, after.clock, encode_event(event)))
        for path, step in after.steps.items():
            old = before.steps.get(path)
            if step is not old:
                self.gate.moved(old, step)
                self.moved.append((old, step))
        for effect in effects:
            match effect:
                case Send() if live.now is after or _stands(live.now, effect):
                    self._send(live, effect)
                case Publish():
                    live.events.append(
                        posting.event(self.prefix, after, effect, bytes_max=self.body_bytes_max)
                    )
                case Ended():
                    self._ended(live.now, effect.status)
                    if live.now.told:
                        self._tell_starter(live, effect.status)
                case LetGo():
                    live.events.append(posting.end(self.prefix, after, effect.participant))
                case StepStuck():
                    self._stuck(after.name)
                case AttemptClosed():
                    self._attempt(effect)
                case _:
                    pass
        self._tell_kin(live, effects)
        return True

    def would(self, live: Live, event: Event) -> bool:
        """Whether `apply` would change anything. Nothing changes, and nobody is told. Raises: as `apply`."""
        if live.definition is None:
            return False
        after, _ = advance(live.definition, live.now, event, self.now_ms)
        return after is not live.now

    def _tell_kin(self, live: Live, effects: Iterable[Effect]) -> None:
        """Write to parents and children; through the outbox, with receipts (K1, O1)."""
        for effect in effects:
            match effect:
                case Call():
                    self._call(live, effect)
                case Tell():
                    live.events.append(kin.tell(self.prefix, live.now, effect))
                case Report():
                    self._report(live, effect)
                case _:
                    pass

    def _call(self, live: Live, call: Call) -> None:
        message = kin.call(self.prefix, live.now, call, self.now_ms)
        size = len(message.body)
        if size <= self.body_bytes_max:
            live.events.append(message)
            return
        # It never leaves: the machine hears of it at once, in the same transaction (O5).
        reason = f"the call has {size:,} bytes, over the limit of {self.body_bytes_max:,}"
        path = call.parent.path
        attempt = live.now.steps[path].attempt
        self._at_once(live, Unsendable(path=path, attempt=attempt, reason=reason, held=self.gate.held()))

    def _report(self, live: Live, report: Report) -> None:
        limit, saga = self.body_bytes_max, live.now
        message, problem = kin.report(self.prefix, saga.id, report, saga.trace, bytes_max=limit)
        # A child that is held compensates, and reports that (O5); of one that is past that an operator is told.
        unsendable = Unsendable(path="", attempt=0, reason=problem, held=self.gate.held())
        if not (problem and self._at_once(live, unsendable)):
            live.events.append(message)

    def _send(self, live: Live, send: Send) -> None:
        message = posting.command(self.prefix, live.now, send)
        size = len(message.body)
        if size <= self.body_bytes_max:
            live.sends.append((send, message))
            return
        # It never leaves: the machine hears of it at once, in the same transaction (O5).
        reason = f"the command has {size:,} bytes, over the limit of {self.body_bytes_max:,}"
        event = Unsendable(path=send.path, attempt=send.attempt, reason=reason, held=self.gate.held())
        self._at_once(live, event)

    def _at_once(self, live: Live, event: Event) -> bool:
        """Apply an event that follows from the one before it, which has been applied already. False: no change."""
        while True:
            try:
                return self.apply(live, event)
            except NotLoaded as need:
                assert self.load is not None, "no saga is partial before the batch has loaded it"
                self.load(live, need)

    def _stuck(self, name: str) -> None:
        observer = self.observer
        self.told.append(lambda: observer.step_stuck(name))

    def _ended(self, saga: Saga, status: Status) -> None:
        seconds = (saga.clock - saga.started) / 1000
        observer, name = (
            self.observer,
            saga.name,
        )  # Not the saga, nor this: it would be kept by what it keeps.
        self.told.append(lambda: observer.saga_ended(name, status.value, seconds))

    def _tell_starter(self, live: Live, status: Status) -> None:
        """The participant that its start named hears of its end, by the transaction that ends it."""
        id_ = event_id_of(live.now.id, "#finished", status.value)
        limit = self.body_bytes_max
        live.events.append(posting.finished(self.prefix, live.now, live.now.told, id_, bytes_max=limit))

    def tell_rejected(self, live: Live, told: str, message_id: str) -> None:
        """A start was rejected: each message that was is told of by itself, since another may take its place (S2)."""
        id_ = event_id_of(live.now.id, f"#rejected {message_id}", live.now.status.value)
        limit = self.body_bytes_max
        live.events.append(posting.finished(self.prefix, live.now, told, id_, bytes_max=limit))

    def _attempt(self, closed: AttemptClosed) -> None:
        seconds = closed.duration / 1000
        observer = self.observer
        self.told.append(
            lambda: observer.attempt(closed.participant, closed.op.value, closed.outcome, seconds)
        )

    def take_back(self) -> None:
        """The batch failed: its steps moved nothing."""
        for old, step in self.moved:
            self.gate.moved(step, old)
        self.moved.clear()
        self.told.clear()


def _stands(saga: Saga, send: Send) -> bool:
    """Whether it is still wanted: what could not be sent just before it may have turned the saga back (C1)."""
    step = saga.steps[send.path]
    return step.op is send.op and step.attempt == send.attempt
