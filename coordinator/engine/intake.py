"""What waits for the engine's next batch, and how it is taken."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Condition
from typing import TypeAlias
from uuid import UUID

from amends.coordinator.engine.contract import ActAnswer, SignalAnswer, StartAnswer
from amends.coordinator.saga.events import Act, Edit, MoveTimer, Replied, Reported, Retry, Signalled, Told
from amends.coordinator.saga.state import Parent
from amends.coordinator.schedules.missed import Plan
from amends.outbox.ports import Delivery
from amends.outbox.wire import Start


@dataclass(slots=True, kw_only=True)
class Item:
    """One thing that happened. `tag` is its delivery, to be acknowledged once it is durable."""

    saga_id: str
    tag: int | None = None
    body: bytes = b""
    message_id: str = ""
    type: str = ""
    failures: int = 0


@dataclass(slots=True, kw_only=True)
class ReplyItem(Item):
    """A participant's reply; `queue` is the command queue it answers, without prefix."""

    event: Replied
    queue: str


@dataclass(frozen=True, slots=True)
class ReceiptTo:
    """Who waits for the receipt of a message (O1)."""

    queue: str
    row: int


@dataclass(slots=True, kw_only=True)
class StartItem(Item):
    """A start, from a message, a door or a schedule.

    A door waits for `answer`; a message's sender for its receipt. `promised` is the id that a message's sender was
    given where the saga has another, which follows from the key that its definition makes (`promised.py`). `broken`:
    it was tried and failed for this reason (E2), and is rejected with that.
    """

    start: Start
    promised: str = ""
    broken: str = ""
    actor: str = ""
    trace: str = ""
    receipt: ReceiptTo | None = None
    answer: Future[StartAnswer] | None = None

    @property
    def is_message(self) -> bool:
        """Whether it came as a message: its sender hears of a rejection later, so the rejection is kept (S2)."""
        return self.tag is not None

    @property
    def takes_key(self) -> bool:
        """Whether the definition's key is its own: it brings none, and no rule has made its id (K1, S4)."""
        of_schedule = self.tag is None and self.answer is None
        return self.start.key is None and self.start.parent is None and not of_schedule and not self.broken


@dataclass(slots=True, kw_only=True)
class ActItem(Item):
    """An operator's act. `in_ms` is how long from now its deadline is, or what it makes due; None: as the act says.

    Only the engine knows which time it is for the saga: a door's clock may be another. `dry`: only whether it fits is
    wanted; it changes nothing.
    """

    act: Act
    in_ms: int | None = None
    answer: Future[ActAnswer]
    dry: bool = False

    def at(self, now_ms: int) -> Act:
        """The act with the time that it has when it is applied then."""
        if self.in_ms is None:
            return self.act
        match self.act:
            case Retry() | Edit():
                return replace(self.act, deadline=now_ms + self.in_ms)
            case MoveTimer():
                return replace(self.act, due=now_ms + self.in_ms)
            case _:
                return self.act


@dataclass(slots=True, kw_only=True)
class SignalItem(Item):
    """A signal, from a message or from a door."""

    event: Signalled
    receipt: ReceiptTo | None = None
    answer: Future[SignalAnswer] | None = None


@dataclass(slots=True, kw_only=True)
class TellItem(Item):
    """What `parent` has decided for a child saga (K3)."""

    event: Told
    parent: Parent
    receipt: ReceiptTo | None = None


@dataclass(slots=True, kw_only=True)
class ReportItem(Item):
    """What a child told its parent (K2, K4)."""

    event: Reported
    receipt: ReceiptTo | None = None


@dataclass(slots=True, kw_only=True)
class TimerItem(Item):
    """A claimed timer; `path` is empty for the saga's deadline."""

    path: str
    token: UUID


@dataclass(slots=True, kw_only=True)
class AdmitItem(Item):
    """A parked step that has room now. As `probe` it goes to its queue although the breaker is open (M6)."""

    path: str
    probe: bool = False


@dataclass(slots=True, kw_only=True)
class BrokenItem(Item):
    """An event of this saga was quarantined: the saga needs an operator (E2).

    If that changes nothing, because it is over or there is none, `parent` hears of it instead.
    """

    reason: str
    parent: Parent | None = None


@dataclass(slots=True, kw_only=True)
class SilentChildItem(Item):
    """A child that cannot even be made stuck by the machine: `parent` hears that an operator is needed (K4)."""

    parent: Parent
    reason: str


@dataclass(slots=True, kw_only=True)
class DeadLetterItem(Item):
    """A message that cannot be attributed to a saga and step."""

    delivery: Delivery
    reason: str
    receipt: ReceiptTo | None = None


@dataclass(slots=True, kw_only=True)
class ScheduleItem(Item):
    """A schedule that is due at instant `due_ms`, and what is to be done about it (S4); it names no saga.

    `broken`: it was tried and failed for this reason (E2); its instants are given up.
    """

    schedule: int
    due_ms: int
    plan: Plan
    broken: str = ""


DoorItem: TypeAlias = StartItem | ActItem | SignalItem
MessageItem: TypeAlias = ReplyItem | TellItem | ReportItem | DeadLetterItem
BrokenOnes: TypeAlias = BrokenItem | SilentChildItem
AnyItem: TypeAlias = DoorItem | MessageItem | TimerItem | AdmitItem | BrokenOnes | ScheduleItem


def from_a_door(item: AnyItem) -> bool:
    """Whether somebody waits for the answer to this item in this process."""
    return isinstance(item, DoorItem) and item.answer is not None


@dataclass(slots=True)
class Intake:
    """A queue of items for one decider. Thread-safe.

    Deliveries are bounded by the consumer's prefetch, timers and admissions by what their threads claim.
    """

    _items: deque[AnyItem] = field(default_factory=deque)
    _changed: Condition = field(default_factory=Condition)
    _woken: bool = False

    def put(self, items: list[AnyItem]) -> None:
        """Add items; the decider wakes."""
        with self._changed:
            self._items.extend(items)
            self._changed.notify()

    def gather(self, enough: int, timeout_s: float) -> None:
        """Wait up to `timeout_s` until there are so many items, or for a `wake`."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or len(self._items) >= enough, timeout_s)

    def take(self, most: int, timeout_s: float) -> list[AnyItem]:
        """Up to `most` items, oldest first; waits up to `timeout_s` for the first, or for a `wake`."""
        with self._changed:
            if not self._items and not self._woken:
                self._changed.wait(timeout_s)
            self._woken = False
            return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    def take_all(self) -> list[AnyItem]:
        """Everything, at once."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            return items

    def take_doors(self) -> list[AnyItem]:
        """What doors wait for, out of its turn; the rest stays."""
        with self._changed:
            doors = [item for item in self._items if from_a_door(item)]
            if doors:
                self._items = deque(item for item in self._items if not from_a_door(item))
            return doors

    def wake(self) -> None:
        """Let a `take` that waits return."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def __len__(self) -> int:
        return len(self._items)
