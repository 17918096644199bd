"""A child that hears its parent's decision in every status it can be in obeys it, and says what becomes of it (K3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import uuid4

import msgspec
import pytest

from amends.coordinator import Saga, chain, step
from amends.coordinator.saga.events import Retry, Skip
from amends.outbox import wire
from amends.outbox.broker import open_broker
from amends.outbox.message import Message
from amends.outbox.ports import coordinator_queue
from tests.engine.scripted import reply
from tests.engine.world import World
from tests.interleavings.network import Network
from tests.waiting import eventually

PACK = Saga(
    "pack",
    chain(step("box", to="store", undo="unbox"), step("tape", to="store", undo="untape")),
    version=1,
)

# What the store answers to the steps' commands before the parent decides; nothing to those that are not here.
BEFORE: Final[dict[str, dict[str, str]]] = {
    "not begun": {},
    "running": {"box": "done"},
    "held": {"box": "done", "tape": "done"},
    "stuck": {"box": "done", "tape": "expired"},
    "compensating": {"box": "done", "tape": "refused"},
    "stuck, compensating": {"box": "done", "tape": "refused", "unbox": "refused"},
    "compensated": {"box": "done", "tape": "refused", "unbox": "done"},
}
STATUSES: Final = {
    "not begun": "placeholder",
    "held": "running",
    "stuck, compensating": "stuck",
}
# Afterwards: what the store was told to undo, in this order, and what the parent heard, in this order. A parent that
# settles has decided: it hears no more of what is done.
UNDONE: Final[dict[str, dict[str, list[str]]]] = {
    "compensate": {
        "not begun": [],
        "running": ["untape", "unbox"],
        "held": ["untape", "unbox"],
        "stuck": ["untape", "unbox"],
        "compensating": ["unbox"],
        "stuck, compensating": ["unbox", "unbox"],
        "compensated": ["unbox"],
    },
    "settle": {
        "not begun": [],
        "running": [],
        "held": [],
        "stuck": [],
        "compensating": ["unbox"],
        "stuck, compensating": ["unbox", "unbox"],
        "compensated": ["unbox"],
    },
}
REPORTED: Final[dict[str, dict[str, list[str]]]] = {
    "compensate": {
        "not begun": ["never", "refused"],
        "running": ["refused"],
        "held": ["done", "refused"],
        "stuck": ["stuck", "refused"],
        "compensating": ["refused"],
        "stuck, compensating": ["stuck", "stuck", "refused"],
        "compensated": ["refused", "refused"],
    },
    "settle": {
        "not begun": [],
        "running": [],
        "held": ["done"],
        "stuck": ["stuck"],
        "compensating": ["refused"],
        "stuck, compensating": ["stuck", "refused"],
        "compensated": ["refused", "refused"],
    },
}


class Nursery:
    """Children of one parent that nobody knows, one in each status; a scripted store answers them as is told."""

    def __init__(self, world: World, network: Network) -> None:
        self.world = world
        self.network = network
        self.parent = wire.Caller(saga=str(uuid4()), path="packing", round=1, holds=True)
        self.children = {status: str(uuid4()) for status in BEFORE}
        self.answers = {self.children[status]: dict(answers) for status, answers in BEFORE.items()}
        self.store = world.participant("store", self._answer)

    def bear(self, status: str) -> None:
        """Call the child that is to come to this status."""
        child = self.children[status]
        input_, sent_at = msgspec.Raw(b"{}"), 2**52
        self._say(
            wire.START, wire.Start(saga=child, name="pack", input=input_, sent_at=sent_at, parent=self.parent)
        )

    def tell(self, status: str, order: str) -> None:
        """The parent decides."""
        tell = wire.Tell(saga=self.children[status], order=order, parent=self.parent)  # type: ignore[arg-type]
        self._say(wire.TELL, tell)

    def commands(self, status: str, *, undo: bool = False) -> list[str]:
        """What the store was told for this child."""
        child = self.children[status]
        return [
            one.command
            for one in list(self.store.received)
            if one.saga == child and (one.op == wire.Op.UNDO) >= undo
        ]

    def reports(self, status: str) -> list[str]:
        """What the parent was told by this child."""
        return [one.outcome for one in self.network.sent("report", child=self.children[status])]

    def is_there(self, status: str) -> bool:
        """Whether this child has come to its status."""
        child = self.world.status(self.children[status])
        asked = {"running": ["box", "tape"], "compensating": ["box", "tape", "unbox"]}.get(status, [])
        told = status != "held" or self.reports(status) == ["done"]
        return child == STATUSES.get(status, status) and self.commands(status)[: len(asked)] == asked and told

    def goes_on(self) -> None:
        """From now on the store does whatever it is told, also what it has not answered yet."""
        for answers in self.answers.values():
            answers.clear()
            answers.update({"box": "done", "tape": "done", "unbox": "done", "untape": "done"})
        for command in list(self.store.received):
            if self.world.status(command.saga) in ("running", "compensating"):
                self.store.answer(command)

    def _answer(self, command: wire.Command) -> wire.Reply | None:
        if command.op is wire.Op.FENCE:
            return reply(command, "store", "never")
        outcome = self.answers[command.saga].get(command.command)
        return None if outcome is None else reply(command, "store", outcome, reason="so it is")

    def _say(self, type_: str, body: wire.Body) -> None:
        queue = coordinator_queue(self.world.prefix)
        self.world.publish(Message(routing_key=queue, type=type_, body=wire.encode(body)))


@pytest.fixture
def nursery(make_world: Callable[..., World]) -> Nursery:
    """A running coordinator behind a network that notes what is said."""
    network = Network(open_broker(f"memory://n{uuid4().hex[:8]}"))
    world = make_world(network).start()
    world.register(PACK)
    return Nursery(world, network)


@pytest.mark.parametrize("order", ["settle", "compensate"])
def test_a_child_obeys_in_every_status(nursery: Nursery, order: str) -> None:
    """K3. Guards, all in obeying.py: `draft.decision = Decision.SETTLE` (it would stay held for ever), `leave(draft)`
    (a stuck child would stay where it is), `if draft.backwards` in _turn_back and its report; `decided` in births.
    """
    world = nursery.world
    for status in BEFORE:
        if status != "not begun":
            nursery.bear(status)
    for status in BEFORE:
        if status != "not begun":
            eventually(lambda status=status: nursery.is_there(status), what=f"a child that is {status}")

    for status in BEFORE:
        nursery.tell(status, order)
    eventually(lambda: nursery.is_there("not begun"), what="the order without a child to be kept")
    decided = {
        status: world.state(child) for status, child in nursery.children.items() if status != "not begun"
    }
    nursery.goes_on()
    nursery.bear("not begun")
    operate(nursery, order)

    for status, child in nursery.children.items():
        backwards = order == "compensate" or "compensat" in status
        world.wait_for(child, "compensated" if backwards else "completed")
        assert world.replayed(child) == world.state(child), status
    assert {status: nursery.commands(status, undo=True) for status in BEFORE} == UNDONE[order]
    eventually(
        lambda: {status: nursery.reports(status) for status in BEFORE} == REPORTED[order],
        10,
        what=f"the parent to hear {REPORTED[order]}",
    )
    assert {status for status, saga in decided.items() if saga.decision == "none"} <= {"compensated"}


def operate(nursery: Nursery, order: str) -> None:
    """What only an operator can move is moved: a stuck undo is retried; what nobody remembers is skipped."""
    world = nursery.world
    stuck = nursery.children["stuck, compensating"]
    assert world.act(stuck, Retry(actor="op", reason="the store is open again")).verdict == "applied"
    if order == "settle":
        child = nursery.children["stuck"]
        assert world.act(child, Skip(actor="op", reason="taped by hand", path="tape")).verdict == "applied"
