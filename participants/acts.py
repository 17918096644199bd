"""An operator's acts from a service's own code: the coordinator's HTTP door, with a token of role `operate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from amends.participants.acts_on_many import ActsOnMany, forced, said
from amends.participants.door import Door


class Acts:
    """Acts on sagas; get one as `client.acts`. Each is audited under the token's name, with its reason.

    Every method gives the saga's status after it, and raises UnknownSaga; CoordinatorRefused, which says why the act
    does not fit; CoordinatorUnavailable, which leaves open whether it was done.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    def retry(
        self, saga_id: str, reason: str, *, step: str | None = None, deadline: str | None = None
    ) -> str:
        """Make everything outstanding due again, or one step; stuck ones in a new round (A3)."""
        return self._act(saga_id, "retry", reason, path=step, deadline=deadline)

    def edit(self, saga_id: str, step: str, args: Any, reason: str, *, deadline: str | None = None) -> str:
        """Give a step that is not done other args and ask it again (A3)."""
        return self._act(saga_id, "edit", reason, path=step, args=args, deadline=deadline)

    def skip(self, saga_id: str, step: str, reason: str) -> str:
        """Do without a stuck step (A1)."""
        return self._act(saga_id, "skip", reason, path=step)

    def force(self, saga_id: str, step: str, reason: str, *, result: Any = ..., refuse: bool = False) -> str:
        """Say what came of a stuck step: a result (None if it has none), or a refusal (A1, A2).

        Raises: InvalidInput if neither was said, or both.
        """
        return self._act(saga_id, "force", reason, path=step, **forced(result, refuse))

    def compensate(self, saga_id: str, reason: str) -> str:
        """Turn a saga back now (A3)."""
        return self._act(saga_id, "compensate", reason)

    def finish(self, saga_id: str, reason: str) -> str:
        """End a stuck saga as it is (A4)."""
        return self._act(saga_id, "finish", reason)

    def on_many(
        self,
        *,
        status: Sequence[str] = (),
        saga: str | None = None,
        labels: Mapping[str, str] | None = None,
        older: str | None = None,
        newer: str | None = None,
        dry_run: bool = False,
    ) -> ActsOnMany:
        """The same acts on every saga that fits all that is said; something must be said.

        `status`: of running, compensating, stuck. `older` and `newer`: started before and after `1h` ago, or an ISO
        time. `dry_run` only tells which sagas it would be, and which would refuse.
        """
        where = {
            "status": list(status),
            "name": saga,
            "labels": dict(labels or {}),
            "older": older,
            "newer": newer,
        }
        return ActsOnMany(
            self._door, {name: value for name, value in where.items() if value}, dry_run=dry_run
        )

    def _act(self, saga_id: str, act: str, reason: str, **fields: Any) -> str:
        sent = msgspec.json.encode({**said(fields), "reason": reason})
        return msgspec.json.decode(
            self._door.ask("POST", f"/sagas/{saga_id}/{act}", sent), type=_Acted
        ).status


class _Acted(msgspec.Struct, frozen=True):
    status: str
