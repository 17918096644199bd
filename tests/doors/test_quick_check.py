"""A quick look at what is registered: over HTTP, by `amends apply`, when a coordinator starts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, chain, group, step
from amends.coordinator.catalog import Catalog
from amends.coordinator.registering import QUICK, look, register_checked, within
from amends.coordinator.saga.errors import InvalidDefinition
from tests.checking.mutating import Mutant, install
from tests.doors.house import House, Run, problem

LEAVING = Saga(
    "leaving",
    chain(
        step("charge", to="payments", undo=None),
        step("reserve", to="inventory", undo="release"),
        step("send", to="shipping", undo="recall", timeout="25h"),
    ),
    version=1,
)
LARGE = Saga("large", group(*(step(f"s{n}", to="p", undo="u") for n in range(400))), version=1)
MODULE = """
from amends.coordinator import Saga, chain, step

leaving = Saga("leaving", chain(step("charge", to="payments", undo=None), step("send", to="shipping", undo="recall")),
    version=1)
"""
UNDOES_ONE = Mutant(
    "C2: chains are undone in reverse", "saga.backward", "        index -= 1", "        index = -1"
)
STEPS = chain(*(step(name, to="x", undo=f"un-{name}") for name in "abc"))


def register(house: House, saga: Saga) -> httpx.Response:
    return house.http().post("/definitions", json={"definition": saga.definition.to_json()})


def test_a_new_definition_is_registered_with_warnings(shared_house: House) -> None:
    """Guard: `checking.look` in http.definitions.register."""
    first, again = register(shared_house, LEAVING), register(shared_house, LEAVING)

    assert (first.status_code, again.status_code) == (201, 200)
    left, stuck, late = first.json()["warnings"]
    assert left == "compensated, and charge stands: nothing undoes it; `amends check` shows the run"
    assert stuck == "can need an operator: reserve; `amends check` tells how"
    assert "send" in late
    assert "deadline" in late
    assert first.json()["check"]["complete"] is True
    assert first.json()["check"]["states"] > 10
    assert (again.json()["warnings"], again.json()["check"]) == ([], None)


def test_apply_tells_the_warnings(
    house: House, amends: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: the loop over `warnings` in cli.apply."""
    monkeypatch.chdir(tmp_path)
    Path("leaving_sagas.py").write_text(MODULE)

    said = amends("apply", "leaving_sagas:leaving", url=house.server.url)
    again = amends("apply", "leaving_sagas:leaving", "--json", url=house.server.url)

    assert said.status == 0
    assert "registered: leaving version 1" in said.err
    assert "\n  warning: compensated, and charge stands: nothing undoes it" in said.err
    assert again.json["warnings"] == []


def test_a_definition_that_breaks_a_promise_is_refused(
    shared_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the machine as it is none does: a guard is taken out of it. Guard: `explored.broken` in registering."""
    install(UNDOES_ONE, monkeypatch)

    answer = register(shared_house, Saga("broken", STEPS, version=1))

    assert problem(answer)[:2] == (422, "invalid_definition")
    assert "invariant" in answer.json()["message"]
    assert "; the shortest run: the saga starts, then " in answer.json()["message"]
    assert shared_house.http().get("/definitions/broken/1").status_code == 404


def test_a_look_at_a_large_definition_delays_no_other_request(shared_house: House) -> None:
    """Guard: the thread of http.checking: without it the event loop answers nothing until the look is over."""
    body = {"definition": LARGE.definition.to_json()}

    def timed(ask: Callable[[], httpx.Response]) -> tuple[float, httpx.Response]:
        began = time.monotonic()
        answer = ask()
        return time.monotonic() - began, answer

    with ThreadPoolExecutor(1) as thread:
        registering = thread.submit(timed, lambda: shared_house.http().post("/definitions", json=body))
        others = []
        while not registering.done():
            others.append(timed(lambda: shared_house.http("read").get("/healthz"))[0])

    took, answer = registering.result()
    assert answer.json()["check"]["complete"] is False
    # One may wait for its turn on a busy machine; without the thread, one or two get in before all wait.
    assert sum(one < took / 2 for one in others) >= 5, others


def test_a_look_ends_in_its_time_however_wide_the_saga_is() -> None:
    """Its bound is one second. Guard: the look at the clock between two moves, in exploring._go_on."""
    looked = look(LARGE.definition, within(0.2))

    assert looked.complete is False
    assert looked.states < 3_000, "its first world alone has more moves, and they take many seconds"


def test_only_what_is_new_is_looked_at(
    coordinator_database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """A coordinator that starts with a large catalogue does not wait. Guards: `catalog.get`, `seconds_max > 0`."""
    caplog.set_level(logging.INFO, "amends.coordinator.registering")
    other = Saga("other", step("a", to="x", undo="b"), version=1).definition

    _, first = register_checked(Catalog(coordinator_database), LEAVING.definition, actor="test")
    done, again = register_checked(Catalog(coordinator_database), LEAVING.definition, actor="test")
    _, too_late = register_checked(Catalog(coordinator_database), other, actor="test", bounds=within(-1))

    assert first is not None
    assert (done.created, again, too_late) == (False, None, None)
    assert [one.message for one in caplog.records] == ["definition_checked", *["definition_warning"] * 3]
    assert within(0.25).seconds_max == 0.25
    assert within(60) == QUICK


def test_a_broken_promise_stops_a_coordinators_start(
    coordinator_database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(UNDOES_ONE, monkeypatch)

    with pytest.raises(InvalidDefinition, match="invariant"):
        register_checked(
            Catalog(coordinator_database), Saga("broken", STEPS, version=1).definition, actor="test"
        )
