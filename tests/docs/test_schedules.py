"""docs/schedules.md: its example runs as it stands, and its nights are those of the clock."""

from __future__ import annotations

import re
import shlex
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.schedules.cron import Cron
from amends.coordinator.schedules.missed import MADE_UP_MAX, Missed
from amends.coordinator.schedules.standing import SCHEDULES_MAX
from amends.participants import Client
from tests.doors.conftest import amends, make_house
from tests.doors.house import House, Run
from tests.engine.scheduled import make_due
from tests.waiting import eventually

__all__ = ["amends", "make_house"]

PAGE: Final = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text("utf-8")
COMMANDS: Final = re.findall(r"^\$ amends (.*)$", PAGE, re.M)
NIGHTS: Final = re.findall(r"^\| `([^`]+)` \| (2026-\d\d-\d\d)[^|]*\| ([^|]+) \|$", PAGE, re.M)
BERLIN: Final = ZoneInfo("Europe/Berlin")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert found is not None
    return found.group(1)


def test_the_example_runs_as_it_stands(
    make_house: Any, amends: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    monkeypatch.chdir(tmp_path)
    Path("report.json").write_text(block("json"))
    house: House = make_house()
    house.world.register(names["send_report"])
    for participant in ("reports", "mail"):
        house.world.participant(participant)

    for line in COMMANDS:
        said = amends(*shlex.split(line), url=house.server.url)

        assert said.status == 0, (line, said.err)
        if line.startswith("schedule add"):
            make_due(house.world, "report-north")
            eventually(lambda: house.http().get("/schedules/report-north").json()["last_saga"], what="a run")
        elif line.startswith("sagas list"):
            assert "due=" in said.out
    names |= {"client": Client("shop", url=house.server.url)}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.S)[1], names)
    for shops in (["north", "south"], ["south"]):
        names["schedule_reports"](names["client"], shops)
        assert [one.name for one in names["client"].schedules.list()] == [f"report-{shop}" for shop in shops]
    assert names["client"].schedules.remove("report-south", "over").labels == {"shop": "south"}
    assert len(COMMANDS) == 7
    assert house.http().get("/schedules").json() == {"schedules": []}


@pytest.mark.parametrize(("cron", "night", "runs"), NIGHTS)
def test_the_nights_are_those_of_the_clock(cron: str, night: str, runs: str) -> None:
    begin = datetime.fromisoformat(night).replace(tzinfo=BERLIN)
    end = begin + timedelta(hours=5)

    due = takewhile(
        lambda instant: instant < end.timestamp() * 1000,
        Cron(cron, BERLIN.key).after(int(begin.timestamp()) * 1000),
    )

    shown = [datetime.fromtimestamp(one / 1000, BERLIN).isoformat(timespec="minutes")[11:] for one in due]
    assert ", ".join(shown) == runs.strip()


def test_the_limits_are_those_of_the_page() -> None:
    assert len(NIGHTS) == 5
    assert all(f"`{policy}`" in PAGE for policy in Missed)
    assert f"at most {SCHEDULES_MAX:,}" in PAGE
    assert f"the last {MADE_UP_MAX}" in PAGE
    assert EngineSettings().schedule_late_s == 60  # "overdue by more than a minute"
