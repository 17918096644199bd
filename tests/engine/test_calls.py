"""Calls at registration: to what is not there yet, and in circles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from amends.coordinator import Saga, call, chain, rollout, wait
from amends.coordinator.catalog import INSERT_DEFINITION, Catalog
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.json import canonical
from tests.waiting import eventually


def test_a_call_to_a_saga_that_is_not_registered_yet_is_allowed(
    coordinator_database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the order of deployment; but it is logged."""
    catalog = Catalog(coordinator_database)

    catalog.register(Saga("outer", call("inner"), version=1).definition, actor="test")

    (warning,) = [one for one in caplog.records if one.message == "called_saga_not_registered"]
    assert (warning.__dict__["saga"], warning.__dict__["calls"]) == ("outer", "inner")


def test_calls_in_a_circle_are_refused(coordinator_database: Engine) -> None:
    """They would never end. Guard: `refuse_cycles` in Catalog.register."""
    catalog = Catalog(coordinator_database)
    with pytest.raises(InvalidDefinition, match=r"call 'inner': 'inner' calls 'inner'"):
        catalog.register(Saga("inner", call("inner"), version=1).definition, actor="test")
    catalog.register(Saga("outer", chain(wait("go"), call("middle")), version=1).definition, actor="test")
    catalog.register(Saga("middle", call("inner"), version=1).definition, actor="test")

    with pytest.raises(InvalidDefinition, match="'inner' calls 'outer' calls 'middle' calls 'inner'"):
        catalog.register(Saga("inner", call("outer"), version=1).definition, actor="test")

    assert catalog.get("inner") is None
    assert catalog.get("outer") is not None


def registered(catalog: Catalog, *sagas: Saga) -> None:
    """The first version of each name is active; the others are not."""
    for saga in sagas:
        catalog.register(saga.definition, actor="test", activate=saga.version == 1)


def calls(name: str, version: int, *called: str, pinned: int | None = None) -> Saga:
    return Saga(name, chain(wait("go"), *(call(one, version=pinned) for one in called)), version=version)


def test_a_version_whose_calls_come_back_to_it_once_it_is_active_is_not_activated(
    coordinator_database: Engine,
) -> None:
    """Each was allowed when it was registered: the others did not call yet. Guard: `check` in rollout.activate."""
    catalog = Catalog(coordinator_database)
    registered(catalog, calls("a", 1, "b"), calls("b", 1), calls("c", 1))
    registered(catalog, calls("b", 2, "c"), calls("c", 2, "a"))
    check = catalog.check_calls

    rollout.activate(coordinator_database, "b", 2, actor="ann", reason="", check=check)
    with pytest.raises(InvalidDefinition, match="call 'a': 'c' calls 'a' calls 'b' calls 'c'"):
        rollout.activate(coordinator_database, "c", 2, actor="ann", reason="", check=check)

    active = catalog.get("c")
    assert active is not None
    assert active.version == 1
    rollout.activate(coordinator_database, "b", 1, actor="ann", reason="", check=check)
    rollout.activate(coordinator_database, "c", 2, actor="ann", reason="", check=check)


def test_calls_of_another_version_are_no_circle(coordinator_database: Engine) -> None:
    """A call that names its version goes on leading to that one. Guard: `call.version` in refuse_cycles."""
    catalog = Catalog(coordinator_database)
    registered(catalog, calls("a", 1), calls("b", 1, "a", pinned=1), calls("a", 2, "b"))

    rollout.activate(coordinator_database, "a", 2, actor="ann", reason="", check=catalog.check_calls)

    registered(catalog, calls("b", 2, "a", pinned=3), calls("a", 3, "b"))
    with pytest.raises(InvalidDefinition, match="'b' calls 'a' calls 'b'"):
        rollout.activate(coordinator_database, "b", 2, actor="ann", reason="", check=catalog.check_calls)


def test_a_version_is_not_gone_back_to_once_another_saga_calls_it(coordinator_database: Engine) -> None:
    """While a@2 calls nothing, b@2 may call a; then nobody goes back to a@1. Guard: `check` in rollout.activate."""
    catalog = Catalog(coordinator_database)
    for saga in (calls("b", 1), calls("a", 1, "b"), calls("a", 2), calls("b", 2, "a")):
        catalog.register(saga.definition, actor="test")

    with pytest.raises(InvalidDefinition, match="'a' calls 'b' calls 'a'"):
        rollout.activate(coordinator_database, "a", 1, actor="ann", reason="", check=catalog.check_calls)


def test_two_registrations_at_once_close_no_circle_together(coordinator_database: Engine) -> None:
    """Guard: LOCK_CALLS in Catalog._refuse_cycles: the lock of a name keeps only changes of that name apart."""
    catalog = Catalog(coordinator_database)
    with coordinator_database.connect() as other, other.begin():
        # One that is about to register a@1, which calls b: it holds what the other then waits for.
        catalog._refuse_cycles(other, calls("a", 1, "b").definition)
        with ThreadPoolExecutor(1) as thread:
            second = thread.submit(catalog.register, calls("b", 1, "a").definition, actor="test")
            waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
            with coordinator_database.connect() as looking:
                eventually(lambda: looking.execute(waits).scalar() or second.done(), what="the second")
            definition = calls("a", 1, "b").definition
            row = {"name": "a", "version": 1, "hash": definition.hash, "actor": "test"}
            other.exec_driver_sql(INSERT_DEFINITION, {**row, "body": canonical(definition.to_json())})
            rollout.make_active(other, "a", 1)
            other.commit()

            with pytest.raises(InvalidDefinition, match="'b' calls 'a' calls 'b'"):
                second.result(10)


def test_two_activations_at_once_close_no_circle_together(coordinator_database: Engine) -> None:
    """Guard: LOCK_CALLS in Catalog._refuse_cycles."""
    catalog = Catalog(coordinator_database)
    registered(catalog, calls("a", 1), calls("b", 1), calls("a", 2, "b"), calls("b", 2, "a"))
    with coordinator_database.connect() as other, other.begin():
        # One that is about to activate: it has looked, and holds what the other then waits for.
        catalog.check_calls(other, "a", 2)
        rollout.make_active(other, "a", 2)
        with ThreadPoolExecutor(1) as thread:
            how = {"actor": "ann", "reason": "", "check": catalog.check_calls}
            second = thread.submit(rollout.activate, coordinator_database, "b", 2, **how)  # type: ignore[arg-type]
            waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
            with coordinator_database.connect() as looking:
                eventually(lambda: looking.execute(waits).scalar() or second.done(), what="the second")
            other.commit()

            with pytest.raises(InvalidDefinition, match="'b' calls 'a' calls 'b'"):
                second.result(10)
