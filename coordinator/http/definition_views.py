"""What the door shows of definitions. Times are ISO 8601 in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class SuspensionView(BaseModel):
    """Starts of this name wait: since when, by whom, why."""

    since: datetime
    by: str
    reason: str


class DefinitionLine(BaseModel):
    """One registered version. `live` is how many of its sagas have not ended: they stay with it.

    `suspended` is the same for every version of a name; null while sagas of the name begin.
    """

    name: str
    version: int
    hash: str
    active: bool
    suspended: SuspensionView | None
    live: int
    registered_at: datetime
    registered_by: str


class DefinitionView(DefinitionLine):
    """One registered version with its stored form."""

    definition: dict[str, Any]


class DefinitionList(BaseModel):
    """Every registered version, by name and version."""

    definitions: list[DefinitionLine]


class CheckView(BaseModel):
    """How far a quick look at a definition went. `complete`: nothing within its bounds is left out."""

    states: int
    complete: bool


class RegisteredView(BaseModel):
    """What became of a registration. `created` is false when the same content stood already.

    `active` tells whether new sagas of the name take this version. `warnings` say what a quick look found: what can
    stay behind or need an operator, what can never succeed in time. `check` is null where it stood, and none was taken.
    """

    name: str
    version: int
    hash: str
    created: bool
    active: bool
    warnings: list[str]
    check: CheckView | None


class ActivatedView(BaseModel):
    """New sagas of the name take `version`; until then they took `before`, if any."""

    name: str
    version: int
    before: int | None


class SwitchedView(BaseModel):
    """A name after it was suspended or resumed. `changed` is false when it was so already."""

    name: str
    changed: bool
    suspended: SuspensionView | None


class ChangeView(BaseModel):
    """One difference: `what` is added, removed, moved or changed; `before` and `after` are as people write them."""

    place: str
    what: str
    before: str | None
    after: str | None


class DiffView(BaseModel):
    """What differs between two definitions, in the order of the second; none if they do the same."""

    old: str
    new: str
    changes: list[ChangeView]
