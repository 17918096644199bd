"""Pictures of sagas and definitions over HTTP, as SVG or Mermaid text."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Response

from amends.coordinator import queries
from amends.coordinator.catalog import Catalog
from amends.coordinator.draw.marks import Mark, marks
from amends.coordinator.draw.mermaid import mermaid
from amends.coordinator.draw.outline import outline
from amends.coordinator.draw.svg import svg
from amends.coordinator.errors import UnknownDefinition
from amends.coordinator.http.access import Reader
from amends.coordinator.http.definitions import Name
from amends.coordinator.http.door import Door
from amends.coordinator.http.finding import there
from amends.coordinator.http.requests import VERSION_MAX
from amends.coordinator.records import Header, StateCount
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.state import Status

router = APIRouter()


class Format(StrEnum):
    """What a picture is written in."""

    SVG = "svg"
    MERMAID = "mermaid"


Wanted = Annotated[Format, Query(alias="format", description="What the picture is written in.")]
_TYPES: Final = {Format.SVG: "image/svg+xml", Format.MERMAID: "text/plain; charset=utf-8"}
_PICTURES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"image/svg+xml": {}, "text/plain": {}}, "description": "The picture."}
}
# An SVG that is opened by itself is a page of this origin: nothing in it may act or fetch.
_INERT: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get("/definitions/{name}/drawing", tags=["definitions"], response_class=Response, responses=_PICTURES)
async def draw_definition(
    name: Name,
    door: Door,
    _: Reader,
    format_: Wanted = Format.SVG,
    version: Annotated[
        int | None, Query(ge=1, le=VERSION_MAX, description="Default: the active version.")
    ] = None,
) -> Response:
    """A definition as a picture: what follows what, what stands side by side, where the point of no return is."""
    found = await door.reading.run(queries.find_definition, name, version)
    definition = Definition.from_json(dict(found.body))
    return await door.reading.run(
        lambda _: _drawn(definition, format_, f"{found.row.name} v{found.row.version}", None)
    )


@router.get("/sagas/{saga_id}/drawing", tags=["sagas"], response_class=Response, responses=_PICTURES)
async def draw_saga(saga_id: UUID, door: Door, _: Reader, format_: Wanted = Format.SVG) -> Response:
    """A saga as a picture: its definition, and how far each step is."""
    header, states = there(saga_id, await door.reading.run(queries.find_states, saga_id))
    catalog = door.engine.catalog
    return await door.reading.run(lambda _: _saga(catalog, header, states, format_))


def _saga(catalog: Catalog, header: Header, states: list[StateCount], format_: Format) -> Response:
    definition = catalog.get(header.name, header.version)
    if definition is None:
        raise UnknownDefinition(header.name, header.version, [])
    heading = f"{header.name} v{header.version}, {header.status}"
    ended = Status(header.status).ended
    return _drawn(definition, format_, heading, marks(states, definition.plan.by_id if ended else ()))


def _drawn(definition: Definition, format_: Format, heading: str, states: dict[str, Mark] | None) -> Response:
    part = outline(definition.plan.root)
    draw = svg if format_ is Format.SVG else mermaid
    return Response(draw(part, heading, states), media_type=_TYPES[format_], headers=_INERT)
