"""docs/operations/timers.md: its example does what it says, and its table names every kind."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Final

from amends.coordinator import Saga, step
from amends.coordinator.http.timers import Kind
from tests.doors.house import House, Run
from tests.engine.scripted import reply
from tests.waiting import eventually

PAGE: Final = (Path(__file__).parents[2] / "docs" / "operations" / "timers.md").read_text("utf-8")


def test_the_example_moves_the_retry(make_house: Callable[..., House], amends: Run) -> None:
    ((line, printed),) = re.findall(r"```console\n\$ amends ([^\n]*)\n(.*?)```", PAGE, re.S)
    house = make_house()
    house.world.register(Saga("pay", step("charge", to="payments", undo="refund"), version=1))
    house.world.participant(
        "payments",
        lambda command: reply(
            command, "payments", "failed" if command.attempt == 1 else "done", retry_after_s=3_600.0
        ),
    )
    saga_id = house.http().post("/sagas", json={"name": "pay", "input": None}).json()["id"]
    eventually(
        lambda: house.world.state(saga_id).steps["charge"].phase == "backoff", what="the bank to be closed"
    )

    said = amends(*shlex.split(re.sub(r"[0-9a-f-]{36}", saga_id, line)), url=house.server.url)

    assert said.err == re.sub(r"[0-9a-f-]{36}", saga_id, printed)
    assert house.ended(saga_id)["status"] == "completed"


def test_the_table_names_every_kind() -> None:
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) == sorted(kind.value for kind in Kind)
