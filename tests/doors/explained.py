"""Sagas that wait, and what `why` says of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from amends.coordinator import Saga, retry, step
from amends.outbox import wire
from tests.doors.house import House
from tests.engine.scripted import Script, reply
from tests.waiting import eventually

PATIENT = Saga("pay", step("charge", to="payments", undo="refund", timeout="10m"), version=1)
HASTY = Saga(
    "pay",
    step("charge", to="payments", undo="refund", timeout="200ms", retry=retry(first="50ms", longest="100ms")),
    version=1,
)


def silent(_: wire.Command) -> None:
    return None


def failing(reason: str) -> Script:
    def script(command: wire.Command) -> wire.Reply:
        return reply(command, "payments", "failed", reason=reason, spent=False, retry_after_s=600.0)

    return script


def started(house: House, name: str = "pay") -> str:
    return str(house.http().post("/sagas", json={"name": name, "input": None}).json()["id"])


def why(house: House, saga_id: str) -> dict[str, Any]:
    answer = house.http().get(f"/sagas/{saga_id}/why")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def waits(house: House, saga_id: str, cause: str) -> dict[str, Any]:
    """The one thing the saga waits for, once it is for this."""
    said: list[Any] = []

    def look() -> dict[str, Any] | None:
        said[:] = why(house, saga_id)["waits"]
        return dict(said[0]) if [one["cause"] for one in said] == [cause] else None

    try:
        return eventually(look, 20, what=f"the cause {cause}") or {}
    except AssertionError as error:
        raise AssertionError(f"{error}; it was: {said}") from None


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)
