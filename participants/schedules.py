"""Schedules from a service's own code: the coordinator's HTTP door, with a token of role `apply`.

    client.schedules.add("report-north", cron="0 3 * * MON-FRI", saga="send-report", input={"shop": "north"})

Pausing and resuming want `operate`, looking `read`. All but looking are audited under the token's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from amends.participants.door import Door
from amends.participants.starts import SagaOrName, make_start


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """How a schedule stands. Runs are instants: fired, missed, and failed since it was added."""

    name: str
    cron: str
    timezone: str
    saga: str
    version: int | None = None
    labels: dict[str, str] = {}
    missed: str
    created_at: datetime
    created_by: str
    paused_at: datetime | None = None
    next_due_at: datetime | None = None
    last_due_at: datetime | None = None
    last_saga: str | None = None
    error: str | None = None
    failed_at: datetime | None = None
    fired_runs: int = 0
    missed_runs: int = 0
    failed_runs: int = 0


class Schedules:
    """The schedules of a coordinator; get them as `client.schedules`.

    Every method raises CoordinatorRefused, which says why and has the HTTP status (404: there is no such schedule; 409:
    another stands under that name); CoordinatorUnavailable.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    def add(
        self,
        name: str,
        *,
        cron: str,
        saga: SagaOrName,
        input: Any,  # noqa: A002 - The word of the language.
        timezone: str = "UTC",
        version: int | None = None,
        labels: Mapping[str, str] | None = None,
        missed: Literal["skip", "once", "all"] = "once",
        reason: str = "",
    ) -> ScheduleView:
        """Start a saga at each instant that `cron` names in this time zone. The same again changes nothing.

        Without `version` each run takes the version that is active then, also where `saga` is a Saga, which only checks
        the input. Safe to repeat, and repeated while the coordinator cannot be reached.

        Raises: InvalidInput; UnknownSaga, SagaSuspended for a saga that could not start now.
        """
        start = make_start(saga, input, None, labels, takes_key=False)
        body: dict[str, Any] = {
            "name": name,
            "cron": cron,
            "timezone": timezone,
            "saga": start.name,
            "input": start.input,
            "version": version,
            "labels": start.labels,
            "missed": missed,
            "reason": reason,
        }
        return self._view(self._door.ask("POST", "/schedules", msgspec.json.encode(body)))

    def list(self) -> list[ScheduleView]:
        """All of them, by name."""
        return msgspec.json.decode(self._door.ask("GET", "/schedules"), type=_All).schedules

    def get(self, name: str) -> ScheduleView:
        """One of them."""
        return self._view(self._door.ask("GET", _path(name)))

    def pause(self, name: str, reason: str) -> ScheduleView:
        """Let it fire no more: once this returns, nothing is fired until it is resumed."""
        return self._act(name, "pause", reason)

    def resume(self, name: str, reason: str) -> ScheduleView:
        """Let it fire again, from its next instant on."""
        return self._act(name, "resume", reason)

    def remove(self, name: str, reason: str) -> ScheduleView:
        """Remove it; gives what it was. A CoordinatorUnavailable leaves open whether it was removed."""
        return self._act(name, "remove", reason, repeatable=False)

    def _act(self, name: str, act: str, reason: str, *, repeatable: bool = True) -> ScheduleView:
        body = msgspec.json.encode({"reason": reason})
        return self._view(self._door.ask("POST", f"{_path(name)}/{act}", body, repeatable=repeatable))

    def _view(self, answer: bytes) -> ScheduleView:
        return msgspec.json.decode(answer, type=ScheduleView)


class _All(msgspec.Struct, frozen=True):
    schedules: list[ScheduleView]


def _path(name: str) -> str:
    return f"/schedules/{quote(name, safe='')}"
