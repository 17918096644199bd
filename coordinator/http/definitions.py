"""Definitions over HTTP: register, list, look."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from amends.coordinator import queries
from amends.coordinator.http.access import Applier, Reader
from amends.coordinator.http.door import Door
from amends.coordinator.http.requests import VERSION_MAX, DefinitionBody
from amends.coordinator.http.views import DefinitionLine, DefinitionList, DefinitionView, RegisteredView
from amends.coordinator.records import DefinitionRow
from amends.coordinator.saga.definition import Definition

router = APIRouter(prefix="/definitions", tags=["definitions"])

Name = Annotated[str, Path(max_length=120, pattern=r"^[^\x00-\x1f]+$")]
Version = Annotated[int, Path(ge=1, le=VERSION_MAX)]


@router.post(
    "", status_code=201, responses={200: {"model": RegisteredView, "description": "It stood already."}}
)
async def register(body: DefinitionBody, response: Response, door: Door, caller: Applier) -> RegisteredView:
    """Register a version. The same content again is fine; other content under a standing version is 409."""
    definition = Definition.from_json(body.definition)
    catalog = door.engine.catalog
    done = await door.reading.run(
        lambda _: catalog.register(definition, actor=caller.name, activate=body.activate)
    )
    response.status_code = 201 if done.created else 200
    return RegisteredView(name=done.name, version=done.version, hash=done.hash, created=done.created)


@router.get("")
async def list_definitions(door: Door, _: Reader) -> DefinitionList:
    """Every registered version, by name and version."""
    catalog = door.engine.catalog
    rows = await door.reading.run(lambda _: catalog.list())
    return DefinitionList(
        definitions=[
            DefinitionLine(
                name=row.name,
                version=row.version,
                hash=row.hash,
                active=row.active,
                registered_at=row.registered_at,
                registered_by=row.registered_by,
            )
            for row in rows
        ]
    )


@router.get("/{name}")
async def get_active(name: Name, door: Door, _: Reader) -> DefinitionView:
    """The version that new sagas of this name take."""
    return _shown(await door.reading.run(queries.find_definition, name, None))


@router.get("/{name}/{version}")
async def get_version(name: Name, version: Version, door: Door, _: Reader) -> DefinitionView:
    """One version."""
    return _shown(await door.reading.run(queries.find_definition, name, version))


def _shown(row: DefinitionRow) -> DefinitionView:
    return DefinitionView(
        name=row.name,
        version=row.version,
        hash=row.hash,
        active=row.active,
        registered_at=row.registered_at,
        registered_by=row.registered_by,
        definition=dict(row.body),
    )
