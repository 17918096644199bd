"""A saga as its client sees it."""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec

ENDED: Final = ("completed", "compensated", "rejected")


class StuckStep(msgspec.Struct, frozen=True):
    """A step that needs an operator, and why."""

    path: str
    reason: str


class SagaView(msgspec.Struct, frozen=True, kw_only=True):
    """How a saga stands; the coordinator's page of it tells more."""

    id: str
    name: str
    version: int
    status: str
    key: str | None = None
    labels: dict[str, str] = {}
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deadline_at: datetime | None = None
    error: str | None = None
    stuck: tuple[StuckStep, ...] = ()
    waits_for: str | None = None
    input_hash: str = ""

    @property
    def ended(self) -> bool:
        """Nothing can change it any more."""
        return self.status in ENDED

    @property
    def completed(self) -> bool:
        """It went through."""
        return self.status == "completed"


def input_hash(payload: bytes) -> str:
    """The hash by which the coordinator tells inputs apart: SHA-256 of the JSON with sorted keys and no spaces."""
    canonical = json.dumps(
        json.loads(payload), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
