"""Waiting for a saga's end: what to ask the coordinator next, and when it is enough."""

from __future__ import annotations

import time
from typing import Any, Final

from amends.participants.errors import StartConflict, WaitTimeout
from amends.participants.payloads import encode
from amends.participants.sagas import SagaView, input_hash

_POLL_S: Final = 25.0
_NOT_YET_S: Final = 0.2


class Waiting:
    """One wait, for at most `timeout_s` seconds. The saga should have been started with `expected`; `...`: anything."""

    def __init__(self, saga_id: str, timeout_s: float, expected: Any) -> None:
        self._saga = saga_id
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._expected = expected
        self._status = "unknown"
        self._is_last = False
        self.poll_s = 0.0

    def next(self) -> str:
        """What to ask now. The coordinator may keep that request for `poll_s`, until something changes."""
        self._is_last = self._left_s <= 0
        self.poll_s = max(0.0, min(self._left_s, _POLL_S))
        return f"/sagas/{self._saga}?wait={self.poll_s:.3f}"

    @property
    def not_yet_s(self) -> float:
        """How long to wait for a saga that nobody knows: its start may still be in an outbox."""
        return max(0.0, min(_NOT_YET_S, self._left_s))

    def ended(self, view: SagaView) -> SagaView | None:
        """The saga if it has ended. Raises: StartConflict."""
        if (
            self._expected is not ...
            and view.input_hash
            and view.input_hash != input_hash(encode(self._expected))
        ):
            raise StartConflict(self._saga, f"saga {self._saga} was started with other input than this")
        self._status = view.status
        return view if view.ended else None

    def raise_if_over(self) -> None:
        """Raises: WaitTimeout once the time was up before the last question."""
        if self._is_last:
            raise WaitTimeout(self._saga, self._status, self._timeout_s)

    @property
    def _left_s(self) -> float:
        return self._deadline - time.monotonic()
