"""Why a saga does not move, as its client sees it."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a saga waits for. `cause` is a constant word; `text` says the same to people.

    `next` is what comes by itself, at `next_at` where that is known; `acts` are what an operator can do, as commands.
    `count` steps wait alike, from `path` to `last_path`; `path` is empty where it is the whole saga.
    """

    cause: str
    path: str
    text: str
    count: int = 1
    last_path: str = ""
    since: datetime | None = None
    next: str | None = None
    next_at: datetime | None = None
    acts: tuple[str, ...] = ()


class Deadline(msgspec.Struct, frozen=True):
    """When the saga's deadline comes, and what it does then."""

    at: datetime
    then: str


class WhyView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a saga waits for, nothing once it has ended; `more` waits are not listed."""

    id: str
    name: str
    version: int
    status: str
    waits: tuple[Wait, ...] = ()
    more: int = 0
    deadline: Deadline | None = None
