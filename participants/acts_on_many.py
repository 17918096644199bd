"""The same act on many sagas, from a service's own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from amends.participants.door import Door
from amends.participants.errors import InvalidInput


class Acted(msgspec.Struct, frozen=True):
    """One of many sagas after an act. `outcome`: applied, refused (`reason` says why), or unknown if it got no answer.

    In a dry run: `would`, or refused.
    """

    id: str
    name: str
    outcome: str
    status: str | None = None
    reason: str = ""


class ActsOnMany:
    """Acts on every saga that fits; get them as `client.acts.on_many(status=["stuck"])`.

    Each saga decides for itself, and one that refuses holds up none of the others. Every method gives what became of
    each, and raises CoordinatorRefused; CoordinatorUnavailable, which leaves open how far it came.
    """

    def __init__(self, door: Door, where: Mapping[str, Any], *, dry_run: bool) -> None:
        self._door = door
        self._where = where
        self._dry_run = dry_run

    def retry(self, reason: str, *, step: str | None = None, deadline: str | None = None) -> list[Acted]:
        """Make everything outstanding due again, or one step; stuck ones in a new round (A3)."""
        return self._act("retry", reason, path=step, deadline=deadline)

    def edit(self, step: str, args: Any, reason: str, *, deadline: str | None = None) -> list[Acted]:
        """Give a step that is not done other args and ask it again (A3)."""
        return self._act("edit", reason, path=step, args=args, deadline=deadline)

    def skip(self, step: str, reason: str) -> list[Acted]:
        """Do without a stuck step (A1)."""
        return self._act("skip", reason, path=step)

    def force(self, step: str, reason: str, *, result: Any = ..., refuse: bool = False) -> list[Acted]:
        """Say what came of a stuck step: a result (None if it has none), or a refusal (A1, A2).

        Raises: InvalidInput if neither was said, or both.
        """
        return self._act("force", reason, path=step, **forced(result, refuse))

    def compensate(self, reason: str) -> list[Acted]:
        """Turn them back now (A3)."""
        return self._act("compensate", reason)

    def finish(self, reason: str) -> list[Acted]:
        """End stuck sagas as they are (A4)."""
        return self._act("finish", reason)

    def _act(self, act: str, reason: str, **fields: Any) -> list[Acted]:
        body: dict[str, Any] = {
            "what": {"act": act, "reason": reason, **said(fields)},
            "where": self._where,
            "dry_run": self._dry_run,
        }
        acted: list[Acted] = []
        while True:
            answer = self._door.ask("POST", "/sagas/acts", msgspec.json.encode(body))
            page = msgspec.json.decode(answer, type=_Page)
            acted += page.sagas
            if page.next is None:
                return acted
            body["cursor"] = page.next


class _Page(msgspec.Struct, frozen=True):
    sagas: list[Acted]
    next: str | None = None


def said(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given; None is a value of args and of a result only."""
    return {name: value for name, value in fields.items() if value is not None or name in ("args", "result")}


def forced(result: Any, refuse: bool) -> dict[str, Any]:
    """The fields of a `force`. Raises: InvalidInput unless it is one of the two."""
    if (result is ...) is not refuse:
        raise InvalidInput("say what came of the step: result=... (None if it has none), or refuse=True")
    return {"refuse": True} if refuse else {"result": result}
