"""A timeline tells attempts, durations, errors, compensations and overrides, so that a person can follow them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from amends.coordinator import Saga, chain, retry, sleep, step
from amends.outbox import wire
from tests.doors.house import House, Run
from tests.engine.scripted import reply

MakeHouse = Callable[..., House]
ROOT: Final = Path(__file__).parents[2]


def started(house: House, name: str) -> str:
    return str(house.http().post("/sagas", json={"name": name, "input": None}).json()["id"])


def timeline(house: House, saga_id: str) -> list[dict[str, Any]]:
    return list(house.http().get(f"/sagas/{saga_id}/timeline").json()["entries"])


def told(house: House, saga_id: str) -> list[tuple[object, ...]]:
    return [
        (one["what"], one["path"], one["attempt"], one["outcome"])
        for one in timeline(house, saga_id)
        if one["what"] != "saga"
    ]


def test_every_attempt_tells_how_long_it_took_why_it_failed_and_when_the_next_one_came(
    make_house: MakeHouse, amends: Run
) -> None:
    house = make_house()
    policy = retry(first="100ms", factor=1, longest="100ms")
    house.world.register(
        Saga("pay", step("charge", to="payments", undo="refund", timeout="300ms", retry=policy), version=1)
    )

    def payments(command: wire.Command) -> wire.Reply | None:
        if command.attempt == 2:
            return None
        outcome = "failed" if command.attempt == 1 else "done"
        return reply(command, "payments", outcome, reason="closed" if command.attempt == 1 else "")

    house.world.participant("payments", payments)
    saga_id = started(house, "pay")
    house.ended(saga_id)

    lines = [one for one in timeline(house, saga_id) if one["what"] == "step"]
    shown = amends("sagas", "show", saga_id, url=house.server.url)

    assert [(one["attempt"], one["outcome"], one["error"]) for one in lines] == [
        (1, "failed", "closed"), (2, "timeout", None), (3, "done", None),
    ]  # fmt: skip
    assert all(one["duration"] is not None for one in lines)
    assert lines[1]["duration"] >= 0.3
    assert [one["next_at"] is not None for one in lines] == [True, True, False]
    first, following, second = (
        datetime.fromisoformat(text) for text in (lines[0]["at"], lines[0]["next_at"], lines[1]["at"])
    )
    assert first < following <= second
    assert "closed; again " in shown.out


def test_what_an_operator_overrode_is_a_line_when_it_took_effect(house: House) -> None:
    """A6: only once the closing fence has told that there was something to override."""

    def payments(command: wire.Command) -> wire.Reply:
        refuses = command.op is wire.Op.UNDO
        return reply(
            command, "payments", "refused" if refuses else "never" if command.op == "fence" else "done"
        )

    house.world.register(
        Saga(
            "pay",
            chain(step("charge", to="payments", undo="refund"), step("look", to="inventory", reads=True)),
            version=1,
        )
    )
    house.world.participants["payments"].script = payments
    house.world.participants["inventory"].script = lambda command: reply(command, "inventory", "refused")
    saga_id = started(house, "pay")
    house.stuck(saga_id)
    skipped = house.http().post(f"/sagas/{saga_id}/skip", json={"path": "charge", "reason": "paid by hand"})
    assert skipped.status_code == 200, skipped.text
    house.ended(saga_id)

    lines = told(house, saga_id)
    override = next(one for one in timeline(house, saga_id) if one["what"] == "override")

    assert [one[0] for one in lines[-3:]] == ["skip", "step", "override"]
    assert "paid by hand" in override["error"]
    assert "charge" in override["error"]


def test_a_command_that_had_to_wait_for_room_says_so(make_house: MakeHouse) -> None:
    house = make_house(settings={"window": 1})
    house.world.register(Saga("pay", step("charge", to="payments", undo="refund", timeout="10m"), version=1))
    payments = house.world.participant("payments", lambda _: None)
    first = started(house, "pay")
    payments.wait_for("do", "charge")
    second = started(house, "pay")
    payments.script = None
    payments.answer(payments.commands("do")[0])

    house.ended(second)

    assert told(house, second) == [("held back", "charge", None, None), ("step", "charge", 1, "done")]
    assert first != second


def test_a_sleep_tells_until_when_and_that_it_is_over(make_house: MakeHouse) -> None:
    house = make_house()
    house.world.register(
        Saga("nap", chain(sleep("300ms"), step("look", to="inventory", reads=True)), version=1)
    )
    house.world.participant("inventory")
    saga_id = started(house, "nap")
    house.ended(saga_id)

    lines = [one for one in timeline(house, saga_id) if one["path"] == "sleep"]

    assert [one["what"] for one in lines] == ["waits", "time is up"]
    following, second = (datetime.fromisoformat(text) for text in (lines[0]["next_at"], lines[1]["at"]))
    assert following <= second


def test_the_page_names_every_kind_of_line() -> None:
    source = (ROOT / "coordinator" / "timeline.py").read_text("utf-8")
    page = (ROOT / "docs" / "operations" / "timeline.md").read_text("utf-8")
    kinds = set(re.findall(r'what="([a-z ]+)"', source)) | {"timer moved", "timer cancelled"}
    acts = {"retry", "edit", "skip", "force", "compensate", "finish"}

    named = set(re.findall(r"`([a-z ]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", page, re.M))))

    assert named == kinds | acts
