"""Timers that fire: which become events, which are held without one (M4, M6, E3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from amends.coordinator.engine.lives import Advancing, Live
from amends.coordinator.saga.events import DeadlineReached, TimerFired
from amends.coordinator.saga.state import Phase, Status, Step, queue_of

HOLD_MS_MIN: Final = 5_000


@dataclass(frozen=True, slots=True)
class HeldTimer:
    """A claimed timer, locked by this batch. `_ms` are milliseconds since 1970, `timeout_ms` is a duration.

    `unsent` tells that the command it watches is still in the outbox.
    """

    saga_id: str
    path: str
    attempt: int
    queue: str | None
    timeout_ms: int
    due_ms: int
    sent_ms: int
    held_since_ms: int | None
    unsent: bool


@dataclass(slots=True)
class Timing:
    """Fires the timers of one batch."""

    advancing: Advancing
    done: list[tuple[str, str]] = field(default_factory=list)  # have had their say: to be deleted
    held: list[tuple[str, str, int]] = field(default_factory=list)  # saga, path, due again at
    counted: set[tuple[str, str]] = field(default_factory=set)  # timeouts that the breaker knows of
    unheard: set[str] = field(default_factory=set)  # sagas that were stuck when their deadline came

    def fire(self, live: Live | None, timer: HeldTimer) -> None:
        """Let one timer have its say. A timer of something that moved on is done without one."""
        if live is not None and timer.path == "":
            if live.now.deadline is not None and self.advancing.now_ms < live.now.deadline:
                # It was claimed by a clock that was ahead: a database that failed over may be behind it.
                self.held.append((timer.saga_id, "", live.now.deadline))
                return
            if live.now.status is Status.STUCK:
                self.unheard.add(timer.saga_id)
            self.advancing.apply(live, DeadlineReached(held=self.advancing.gate.held()))
        step = live.now.steps.get(timer.path) if live is not None else None
        if live is None or step is None or not _due(live, step, timer):
            self.done.append((timer.saga_id, timer.path))
            return
        queue = queue_of(step.participant, step.op)
        gate = self.advancing.gate
        if gate.is_open(queue) or (step.phase is Phase.AWAITING and timer.unsent):
            pause = max(timer.timeout_ms, HOLD_MS_MIN if gate.is_open(queue) else 0)
            self.held.append((timer.saga_id, timer.path, self.advancing.now_ms + pause))
            return
        spent = True
        if step.phase is Phase.AWAITING:
            spent = gate.counts_timeout(queue, timer.sent_ms)
            once = (timer.saga_id, timer.path)
            if spent and once not in self.counted:
                self.counted.add(once)  # The event may be given again, once more of its saga was read.
                gate.timed_out(queue)
        self._fired(live, timer, spent=spent)
        self.done.append((timer.saga_id, timer.path))

    def _fired(self, live: Live, timer: HeldTimer, *, spent: bool) -> None:
        excused = 0
        if timer.held_since_ms is not None:
            excused = max(0, self.advancing.now_ms - timer.held_since_ms)
        event = TimerFired(
            path=timer.path,
            attempt=timer.attempt,
            excused=excused,
            spent=spent,
            held=self.advancing.gate.held(),
        )
        self.advancing.apply(live, event)

    def resend(self, live: Live, path: str, held: frozenset[str]) -> None:
        """Send a waiting command again at once, unspent: it is its queue's probe (M6)."""
        for _ in range(2):  # An awaited attempt is closed first; then its back-off is cut short.
            step = live.now.steps.get(path)
            if step is None or step.phase not in (Phase.AWAITING, Phase.BACKOFF):
                return
            sends = len(live.sends)
            excused = max(0, self.advancing.now_ms - (step.due or self.advancing.now_ms))
            self.advancing.apply(
                live, TimerFired(path=path, attempt=step.attempt, excused=excused, spent=False, held=held)
            )
            if len(live.sends) > sends:
                return


def _due(live: Live, step: Step, timer: HeldTimer) -> bool:
    return (
        step.attempt == timer.attempt
        and step.phase in (Phase.AWAITING, Phase.BACKOFF, Phase.WAITING)
        and live.now.status not in (Status.STUCK,)
        and not live.now.status.ended
    )
