"""Participants over HTTP: what live sagas need of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from amends.coordinator import needs
from amends.coordinator.http.access import Reader
from amends.coordinator.http.door import Door

router = APIRouter(prefix="/participants", tags=["definitions"])


class NeedView(BaseModel):
    """One handler, and the sagas that need it, as `name@version`."""

    op: str
    name: str
    sagas: list[str]


class NeedsView(BaseModel):
    """What live sagas need: the active definitions, and versions that sagas still run in.

    `unreadable` are live definitions of a newer release: ask one of its coordinators.
    """

    participant: str
    needs: list[NeedView]
    unreadable: list[str]


@router.get("/{name}/needs")
async def get_needs(
    name: Annotated[str, Path(max_length=120, pattern=r"^[A-Za-z0-9_-]+$")], door: Door, _: Reader
) -> NeedsView:
    """Which handlers of a participant live sagas need; none for one that nobody names."""
    found = await door.reading.run(needs.needs_of, name)
    return NeedsView(
        participant=name,
        needs=[
            NeedView(op=op, name=handler, sagas=list(sagas))
            for (op, handler), sagas in found.handlers.items()
        ],
        unreadable=list(found.unreadable),
    )
