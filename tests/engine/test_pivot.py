"""The point of no return on the real engine: a pivot in doubt is asked, never guessed (P1, P2)."""

from __future__ import annotations

import pytest

from amends.coordinator import Saga, chain, pivot, step
from amends.coordinator.saga.events import Compensate, Retry, Skip
from tests.engine.scripted import reply
from tests.engine.world import World
from tests.waiting import DEADLINE_S, eventually

SHIP = Saga(
    "ship",
    chain(
        step("reserve", to="inventory", undo="release"),
        pivot(step("dispatch", to="shipping", timeout="10s")),
        step("mail", to="mail"),
    ),
    version=1,
    deadline="700ms",
)


@pytest.mark.parametrize(
    ("found", "status", "undone"),
    [
        ({"outcome": "never"}, "compensated", True),
        ({"outcome": "refused", "reason": "no truck"}, "compensated", True),
        ({"outcome": "done"}, "completed", False),
    ],
)
def test_a_pivot_in_doubt_at_the_deadline_is_fenced(
    world: World, found: dict[str, str], status: str, undone: bool
) -> None:
    """P1: the deadline sends a fence; what it finds decides. Guard: `Pivot.SENT` in timers.deadline_reached."""
    world.register(SHIP)
    inventory = world.participant("inventory")
    world.participant("mail")
    shipping = world.participant(
        "shipping", lambda command: reply(command, "shipping", **found) if command.op == "fence" else None
    )

    answer = world.start_saga("ship", {})
    shipping.wait_for("do", "dispatch")
    shipping.wait_for("fence", "dispatch")

    world.wait_for(answer.saga_id, status)
    assert bool(inventory.commands("undo")) is undone


def test_a_pivot_of_unknown_outcome_is_tried_on_and_its_late_done_wins(world: World) -> None:
    """P1: `unknown` goes on trying `do`; `done` is accepted from any attempt (M1)."""
    world.register(SHIP)
    world.participant("inventory")
    world.participant("mail")
    shipping = world.participant(
        "shipping", lambda command: reply(command, "shipping", "unknown") if command.op == "fence" else None
    )
    answer = world.start_saga("ship", {})
    first = shipping.wait_for("do", "dispatch")
    shipping.wait_for("do", "dispatch", count=2)
    assert world.status(answer.saga_id) == "running"

    shipping.answer(first)

    world.wait_for(answer.saga_id, "completed")


def test_compensate_now_asks_the_pivot_first(world: World) -> None:
    world.register(
        Saga(
            "ship",
            chain(step("reserve", to="inventory", undo="release"), pivot(step("dispatch", to="shipping"))),
            version=1,
        )
    )
    inventory = world.participant("inventory")
    shipping = world.participant("shipping", lambda command: None)
    answer = world.start_saga("ship", {})
    shipping.wait_for("do", "dispatch")

    applied = world.act(answer.saga_id, Compensate(actor="ann", reason="customer called"))

    assert applied.verdict == "applied"
    fence = shipping.wait_for("fence", "dispatch")
    assert inventory.commands("undo") == []
    shipping.answer(fence, "never")
    world.wait_for(answer.saga_id, "compensated")
    assert world.row("SELECT actor, act, reason FROM amends.audit WHERE saga_id IS NOT NULL") == (
        "ann",
        "compensate",
        "customer called",
    )


def test_past_the_pivot_compensate_is_refused_and_a_refusal_is_stuck(world: World) -> None:
    """P2, K4's kin: nothing is compensated any more; the operator is told what fits."""
    world.register(SHIP)
    inventory = world.participant("inventory")
    world.participant("shipping")
    mail = world.participant(
        "mail", lambda command: reply(command, "mail", "refused", reason="no such address")
    )
    answer = world.start_saga("ship", {})
    world.wait_for(answer.saga_id, "stuck")

    refused = world.act(answer.saga_id, Compensate(actor="ann", reason="try"))

    assert refused.verdict == "refused"
    assert inventory.commands("undo") == []
    assert "no such address" in world.value("SELECT stuck_steps->0->>'reason' FROM amends.saga")
    mail.script = None
    assert world.act(answer.saga_id, Retry(actor="ann", reason="address mended")).verdict == "applied"
    world.wait_for(answer.saga_id, "completed")
    assert mail.commands("do")[-1].round == 2


def test_a_skipped_step_is_fenced_first_and_done_wins(world: World) -> None:
    """A1: the closing fence tells what became of it; `done` wins over the override."""
    world.register(SHIP)
    world.participant("inventory")
    world.participant("shipping")
    mail = world.participant(
        "mail",
        lambda command: (
            reply(command, "mail", "done", result=7)
            if command.op == "fence"
            else reply(command, "mail", "refused", reason="no")
        ),
    )
    answer = world.start_saga("ship", {})
    world.wait_for(answer.saga_id, "stuck")

    assert world.act(answer.saga_id, Skip(actor="ann", reason="by phone", path="mail")).verdict == "applied"

    fence = mail.wait_for("fence", "mail")
    assert fence.closes == "do"
    world.wait_for(answer.saga_id, "completed")
    assert world.state(answer.saga_id).steps["mail"].did == "done"
    eventually(world.drained)


def test_two_operators_at_once_one_wins_and_the_other_is_told(world: World) -> None:
    world.register(SHIP)
    world.participant("inventory")
    world.participant("shipping")
    world.participant(
        "mail", lambda command: reply(command, "mail", "refused", reason="no") if command.op == "do" else None
    )
    answer = world.start_saga("ship", {})
    world.wait_for(answer.saga_id, "stuck")

    acts = [
        world.coordinator.submit_act(answer.saga_id, Skip(actor=name, reason="x", path="mail"))
        for name in ("ann", "ben")
    ]

    assert sorted(act.result(DEADLINE_S).verdict.value for act in acts) == ["applied", "refused"]
    assert world.value("SELECT count(*) FROM amends.audit WHERE saga_id IS NOT NULL") == 1
