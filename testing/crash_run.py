"""One run of `crash_everywhere`: the machine decides, the author's handlers obey, and what is planned goes wrong.

Everything happens in one thread, in one order: a run is the same each time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from amends.coordinator.saga import events
from amends.coordinator.saga.durations import written
from amends.coordinator.saga.effects import Call, Order, ReportOutcome, Send, Tell
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.leaves import WaitNode
from amends.coordinator.saga.state import Phase, Status
from amends.coordinator.saga.walk import scope_of
from amends.db.crashpoints import watched
from amends.outbox import wire
from amends.participants.payloads import encode
from amends.testing.answers import Answer, done
from amends.testing.bench import Killed
from amends.testing.commands import asked
from amends.testing.crash_services import OwnServices, Scripted
from amends.testing.happenings import plain
from amends.testing.mishaps import Mishap, Plan, Turn, crash_words
from amends.testing.story import ID, Story

TURNS_MAX = 2_000


class Wrong(Exception):
    """What a run found out."""


@dataclass(eq=False, slots=True)
class Parcel:
    """A message on its way: a command, or what the saga is told."""

    line: str
    command: wire.Command | None = None
    participant: str = ""
    event: events.Event | None = None


@dataclass
class CrashRun:
    """A run, and what became of it: `story` is the saga's, `lines` what happened, `turns` for the plans that follow."""

    story: Story
    plan: Plan
    own: OwnServices
    others: Scripted
    answers: Mapping[str, Answer]
    forget: Callable[[], None]
    lines: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    applies: bool = True

    def __post_init__(self) -> None:
        self._queue: deque[Parcel] = deque()
        self._late: list[Parcel] = []
        self._signalled: set[str] = set()
        self._began = int(time.time() * 1000)

    @property
    def status(self) -> str:
        """What the saga has become: completed or compensated."""
        return self.story.status

    def go(self) -> None:
        """Until all is over. Raises: Wrong."""
        self._follow(self.story.effects)
        while self._turn():
            if len(self.turns) > TURNS_MAX:
                raise Wrong(f"it does not come to an end within {TURNS_MAX} messages")
        if not self.story.saga.status.ended:
            stuck = "; ".join(f"{path}: {why}" for path, why in self.story.stuck.items())
            raise Wrong(f"the saga is {self.status} ({stuck or 'nothing is due any more'})")

    def _turn(self) -> bool:
        """One message, or the next thing that is due; False if there is neither."""
        back = self.plan.back
        if back is not None and len(self.turns) == back.turn:
            self.plan = Plan(None, self.plan.mishap, self.plan.replicas)
            self._turn_back(overtaking=back.overtaking)
        if self._queue:
            self._handle(self._queue.popleft())
            return True
        if not self.story.saga.status.ended and self.story.status != Status.STUCK and self._due():
            return True
        if self._late:
            self._queue.append(self._late.pop(0))
            return True
        return not self.story.saga.status.ended and self.story.status == Status.STUCK and self._due()

    def _turn_back(self, *, overtaking: bool) -> None:
        try:
            self._tell(events.Compensate(actor="test", reason=""), "an operator turns the saga back")
        except ActRefused:
            self.applies = False
            return
        if overtaking:
            late = [one for one in self._queue if one.command is not None and one.command.op is wire.Op.DO]
            self.applies = bool(late)
            self._queue = deque([one for one in self._queue if one not in late] + late)

    def _handle(self, parcel: Parcel) -> None:
        mishap = self.plan.mishap if self._is_meant() else None
        turn, waiting = len(self.turns), len(self._queue)
        self.turns.append(Turn(parcel.command is not None, (), waiting, not self.story.saga.backwards))
        if mishap is None:
            self._deliver(parcel, turn)
        else:
            self._befall(parcel, mishap, turn)

    def _is_meant(self) -> bool:
        mishap = self.plan.mishap
        return mishap is not None and mishap.turn == len(self.turns) and self.plan.back is None

    def _befall(self, parcel: Parcel, mishap: Mishap, turn: int) -> None:
        match mishap.kind:
            case "crash":
                self._crash(parcel, mishap.point)
            case "lost":
                self.lines.append(f"lost: {parcel.line}")
            case "late":
                self.lines.append(f"delayed: {parcel.line}")
                self._late.append(parcel)
            case "overtaken":
                self.lines.append(f"overtaken by the next: {parcel.line}")
                self._queue.insert(1, parcel)
            case "copy":
                self._deliver(parcel, turn)
                self._queue.appendleft(
                    Parcel(f"again: {parcel.line}", parcel.command, parcel.participant, parcel.event)
                )
            case _:
                self._deliver(parcel, turn)
                self._late.append(
                    Parcel(f"again: {parcel.line}", parcel.command, parcel.participant, parcel.event)
                )

    def _crash(self, parcel: Parcel, point: str) -> None:
        def dies(name: str) -> None:
            if name == point:
                raise Killed

        try:
            with watched(dies):
                self._obey(parcel)
        except Killed:
            self.lines.append(f"{parcel.participant} dies {crash_words(point)}: {parcel.line}")
            # What it had committed is in its outbox, and a sweep carries it.
            self._carry(self.own.rest(parcel.participant))
            self.forget()
            self._queue.appendleft(Parcel(f"again: {parcel.line}", parcel.command, parcel.participant))

    def _deliver(self, parcel: Parcel, turn: int) -> None:
        if parcel.event is not None:
            self._tell(parcel.event, parcel.line)
            return
        passed: list[str] = []
        if self.plan.replicas:
            self.forget()
        self.lines.append(parcel.line)
        with watched(passed.append):
            self._obey(parcel)
        self.turns[turn] = Turn(True, tuple(passed), self.turns[turn].waiting, self.turns[turn].forward)

    def _obey(self, parcel: Parcel) -> None:
        command = parcel.command
        assert command is not None
        if parcel.participant in self.own:
            replies = self.own.obey(parcel.participant, command)
        else:
            replies = [self.others.obey(parcel.participant, command)]
        self._carry(replies)

    def _carry(self, replies: list[wire.Reply]) -> None:
        for reply in replies:
            told = Answer(
                outcome=reply.outcome.value, result=msgspec.json.decode(reply.result), reason=reply.reason
            )
            line = f"{reply.op} of {reply.path} is answered: {told!r}"
            self._queue.append(Parcel(line, event=_replied(reply)))

    def _tell(self, event: events.Event, line: str) -> None:
        before = len(self.story.effects)
        self.story._happens(event, line)
        self.lines.append(line)
        self._follow(self.story.effects[before:])

    def _follow(self, effects: Any) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                told = asked(effect)
                line = f"{effect.participant}: {told.op} {effect.path} (attempt {effect.attempt})"
                self._queue.append(Parcel(line, self._command(effect), effect.participant))
            elif isinstance(effect, Call | Tell):
                self._queue.append(self._child(effect))
        for path, step in self.story.saga.steps.items():
            node = self.story.definition.plan.by_id[step.node].node
            if isinstance(node, WaitNode) and step.phase is Phase.WAITING and path not in self._signalled:
                self._signal(path, node)

    def _signal(self, path: str, node: WaitNode) -> None:
        self._signalled.add(path)
        answer = self.answers.get(path, self.answers.get(node.name))
        if answer is not None and answer.outcome == "done":
            name = f"{node.signal}{scope_of(path)}"
            event = events.Signalled(name=name, message_id=f"signal-{path}", payload=plain(answer.result))
            self._queue.append(Parcel(f"the signal {name} comes", event=event))

    def _child(self, effect: Call | Tell) -> Parcel:
        parent = effect.parent
        name = parent.path.partition("/")[0]
        answer = self.answers.get(parent.path, self.answers.get(name, done()))
        outcome = ReportOutcome(answer.outcome)
        if isinstance(effect, Tell) and effect.order is Order.COMPENSATE:
            outcome = ReportOutcome.REFUSED
        event = events.Reported(
            path=parent.path,
            child=effect.child,
            round=parent.round,
            outcome=outcome,
            result=plain(answer.result),
            reason=answer.reason,
        )
        return Parcel(f"the child of {parent.path} reports {outcome}", event=event)

    def _command(self, send: Send) -> wire.Command:
        return wire.Command(
            saga=ID,
            name=self.story.saga.name,
            path=send.path,
            op=wire.Op(send.op.value),
            command=send.command,
            round=send.round,
            attempt=send.attempt,
            args=msgspec.Raw(encode(send.args)),
            closes=wire.Op(send.closes.value) if send.closes else None,
            started_at=self._began,
            labels=dict(self.story.saga.labels),
        )

    def _due(self) -> bool:
        """Time passes until something is due."""
        moment = self.story._next_due()
        if moment is None:
            return False
        due, step = moment
        passed = max(0, due - self.story.now)
        self.story.now += passed
        self.own.advance(passed)
        self.lines.append(f"{written(passed)} pass")
        before = len(self.story.effects)
        if step is None:
            self.story._deadline()
        else:
            self.story._passed |= {(step.path, step.attempt, due)}
            self.story._fire(step)
        self.lines.append(self.story.course[-1])
        self._follow(self.story.effects[before:])
        return True


def _replied(reply: wire.Reply) -> events.Replied:
    from amends.coordinator.saga.state import Op

    retry_after = None if reply.retry_after_s is None else round(reply.retry_after_s * 1000)
    return events.Replied(
        path=reply.path,
        op=Op(reply.op.value),
        round=reply.round,
        attempt=reply.attempt,
        outcome=events.Outcome(reply.outcome.value),
        result=msgspec.json.decode(reply.result),
        reason=reply.reason,
        certain=reply.certain,
        spent=reply.spent,
        retry_after=retry_after,
        ran_in_round=reply.ran_in_round,
        in_doubt=reply.in_doubt,
        closes=None if reply.closes is None else Op(reply.closes.value),
    )
