"""docs/operations/why.md: its example is what the command prints, and its table names every cause."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from amends.coordinator import Saga, step
from amends.coordinator.why.causes import Cause
from amends.outbox.ports import Broker
from tests.doors.house import House, Run
from tests.waiting import eventually

PAGE: Final = (Path(__file__).parents[2] / "docs" / "operations" / "why.md").read_text("utf-8")
UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
LENGTH: Final = re.compile(r"(in )?\d[\d.]* (ms|s|min|h)( \d+ (s|min))?( ago)?")


def alike(text: str) -> list[str]:
    """The lines without what differs from run to run."""
    for pattern, word in ((UUID, "ID"), (TIME, "TIME"), (LENGTH, "LENGTH")):
        text = pattern.sub(word, text)
    return [line.rstrip() for line in text.strip().splitlines()]


def test_the_example_is_what_the_command_prints(
    make_house: Callable[..., House], broker: Broker, prefix: str, amends: Run
) -> None:
    (example,) = re.findall(r"```console\n\$ amends why \S+\n(.*?)```", PAGE, re.S)
    house = make_house(prefix=prefix, broker=broker)
    house.world.register(Saga("pay", step("charge", to="payments", undo="refund", timeout="10m"), version=1))
    saga_id = house.http().post("/sagas", json={"name": "pay", "input": None}).json()["id"]

    eventually(
        lambda: "(1 message in it)" in amends("why", saga_id, url=house.server.url).out,
        what="the command to be in the queue",
    )

    assert alike(amends("why", saga_id, url=house.server.url).out) == alike(example)


def test_the_table_names_every_cause() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.M) == [cause.value for cause in Cause]
