"""Which version new sagas take: forwards, back again, by many at once; running ones stay with theirs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from amends.coordinator import Saga, rollout, step
from amends.coordinator.catalog import Catalog
from amends.coordinator.errors import UnknownDefinition
from tests.engine.scripted import reply
from tests.engine.world import World
from tests.waiting import eventually


def pay(version: int, command: str = "charge") -> Saga:
    return Saga("pay", step("charge", do=command, to="payments", undo="refund", args={}), version=version)


def audited(database: Engine) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        rows = connection.execute(text("SELECT actor, act, reason, details FROM amends.audit ORDER BY id"))
        return [tuple(row) for row in rows]


def active(database: Engine) -> list[int]:
    with database.connect() as connection:
        rows = connection.execute(text("SELECT version FROM amends.definition WHERE active"))
        return list(rows.scalars())


def test_new_sagas_take_the_activated_version_and_running_ones_stay_with_theirs(world: World) -> None:
    payments = world.participant("payments", lambda command: None)
    world.register(pay(1))
    world.coordinator.catalog.register(pay(2, "bill").definition, actor="ann", activate=False)

    of_first = world.start_saga("pay", {})
    rollout.activate(world.database, "pay", 2, actor="ann", reason="new prices")
    of_second = world.start_saga("pay", {})
    rollout.activate(world.database, "pay", 1, actor="ann", reason="wrong prices")
    of_first_again = world.start_saga("pay", {})
    eventually(lambda: len(payments.commands("do")) == 3, what="three commands")

    asked = payments.commands("do")
    commands = {command.saga: command.command for command in asked}
    assert commands[of_first.saga_id] == "charge"
    assert commands[of_second.saga_id] == "bill"
    assert commands[of_first_again.saga_id] == "charge"
    payments.send(*(reply(command, "payments") for command in asked))
    for answer in (of_first, of_second, of_first_again):
        world.wait_for(answer.saga_id, "completed")


def test_every_coordinator_takes_the_version_that_was_activated_at_another(
    make_world: Callable[..., World],
) -> None:
    one = make_world().start()
    other = make_world(one.broker, one.prefix).start()
    payments = one.participant("payments")
    one.register(pay(1))
    one.register(pay(2, "bill"))
    other.start_saga("pay", {})

    rollout.activate(one.database, "pay", 1, actor="ann", reason="")
    other.start_saga("pay", {})

    eventually(lambda: len(payments.commands("do")) == 2, what="two commands")
    assert [command.command for command in payments.commands("do")] == ["bill", "charge"]


def test_only_what_stands_can_be_activated(coordinator_database: Engine) -> None:
    Catalog(coordinator_database).register(pay(1).definition, actor="ann")

    with pytest.raises(UnknownDefinition, match="known versions: 1"):
        rollout.activate(coordinator_database, "pay", 2, actor="ann", reason="")
    with pytest.raises(UnknownDefinition, match="known sagas: pay"):
        rollout.activate(coordinator_database, "play", 1, actor="ann", reason="")

    assert active(coordinator_database) == [1]


def test_every_change_is_audited_and_what_changes_nothing_is_not(coordinator_database: Engine) -> None:
    catalog = Catalog(coordinator_database)
    catalog.register(pay(1).definition, actor="ann")
    catalog.register(pay(1).definition, actor="ann")
    catalog.register(pay(2).definition, actor="ann", activate=False)
    for _ in range(2):
        rollout.activate(coordinator_database, "pay", 2, actor="ben", reason="it is time")
    for _ in range(2):
        rollout.suspend(coordinator_database, "pay", actor="ben", reason="too late")
    for _ in range(2):
        rollout.resume(coordinator_database, "pay", actor="cid", reason="")

    found = [(actor, act, reason) for actor, act, reason, _ in audited(coordinator_database)]
    details = [details for *_, details in audited(coordinator_database)]
    assert found == [
        ("ann", "definition apply", ""),
        ("ann", "definition apply", ""),
        ("ben", "definition activate", "it is time"),
        ("ben", "definition suspend", "too late"),
        ("cid", "definition resume", ""),
    ]
    assert [(one["version"], one["activated"]) for one in details[:2]] == [(1, True), (2, False)]
    assert details[2:] == [{"name": "pay", "version": 2, "before": 1}, {"name": "pay"}, {"name": "pay"}]


def test_many_changes_at_once_leave_one_active_version_and_one_standing(coordinator_database: Engine) -> None:
    """Guard: LOCK_NAME in rollout._lock; without it the partial unique index raises for some."""
    catalog = Catalog(coordinator_database)
    for version in (1, 2, 3):
        catalog.register(pay(version).definition, actor="ann")

    def change(number: int) -> None:
        if number % 2:
            rollout.activate(coordinator_database, "pay", number % 3 + 1, actor="x", reason="")
        elif number % 4:
            rollout.suspend(coordinator_database, "pay", actor="x", reason="")
        else:
            rollout.resume(coordinator_database, "pay", actor="x", reason="")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(48)))

    assert len(active(coordinator_database)) == 1
    switches = [act for _, act, _, _ in audited(coordinator_database) if act.endswith(("suspend", "resume"))]
    assert switches[0::2] == ["definition suspend"] * len(switches[0::2])
    assert switches[1::2] == ["definition resume"] * len(switches[1::2])


def test_a_coordinator_that_restarts_does_not_undo_the_way_back(coordinator_database: Engine) -> None:
    """What it registers at its start stood already. Guard: `only_if_new` in Catalog.register."""
    catalog = Catalog(coordinator_database)
    catalog.register(pay(1).definition, actor="coordinator", only_if_new=True)
    catalog.register(pay(2).definition, actor="coordinator", only_if_new=True)
    rollout.activate(coordinator_database, "pay", 1, actor="ann", reason="back")

    done = catalog.register(pay(2).definition, actor="coordinator", only_if_new=True)

    assert (done.created, done.active) == (False, False)
    assert active(coordinator_database) == [1]
