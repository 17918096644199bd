"""Definitions over HTTP: register, list, look, compare; which version new sagas take, and whether they begin."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from amends.coordinator import queries, rollout
from amends.coordinator.diff import differences
from amends.coordinator.http.access import Applier, Reader
from amends.coordinator.http.answers import Refusal
from amends.coordinator.http.definition_views import (
    ActivatedView,
    ChangeView,
    CheckView,
    DefinitionLine,
    DefinitionList,
    DefinitionView,
    DiffView,
    RegisteredView,
    SuspensionView,
    SwitchedView,
)
from amends.coordinator.http.door import Door
from amends.coordinator.http.requests import VERSION_MAX, ActivateBody, DefinitionBody, SwitchBody
from amends.coordinator.records import DefinitionRow, StoredDefinition
from amends.coordinator.saga.definition import Definition

router = APIRouter(prefix="/definitions", tags=["definitions"])

Name = Annotated[str, Path(max_length=120, pattern=r"^[^\x00-\x1f]+$")]
Version = Annotated[int, Path(ge=1, le=VERSION_MAX)]

_VERSIONED: Final = re.compile(r"(?P<name>[^\x00-\x1f@]{1,120})(?:@(?P<version>[1-9][0-9]{0,8}))?")


@router.post(
    "", status_code=201, responses={200: {"model": RegisteredView, "description": "It stood already."}}
)
async def register(body: DefinitionBody, response: Response, door: Door, caller: Applier) -> RegisteredView:
    """Register a version. The same content again is fine; other content under a standing version is 409.

    What is new is looked at quickly, as `amends check` does at length: `warnings` say what was found.
    """
    definition = Definition.from_json(body.definition)
    catalog = door.engine.catalog
    known = await door.reading.run(lambda _: catalog.get(definition.name, definition.version))
    checked = await door.checking.look(definition) if known is None else None
    done = await door.reading.run(
        lambda _: catalog.register(definition, actor=caller.name, activate=body.activate)
    )
    response.status_code = 201 if done.created else 200
    return RegisteredView(
        name=done.name,
        version=done.version,
        hash=done.hash,
        created=done.created,
        active=done.active,
        warnings=list(checked.warnings) if checked is not None else [],
        check=CheckView(states=checked.states, complete=checked.complete) if checked is not None else None,
    )


@router.get("")
async def list_definitions(door: Door, _: Reader) -> DefinitionList:
    """Every registered version, by name and version."""
    rows = await door.reading.run(queries.definitions)
    return DefinitionList(definitions=[_line(row) for row in rows])


@router.get("/{name}")
async def get_active(name: Name, door: Door, _: Reader) -> DefinitionView:
    """The version that new sagas of this name take."""
    return _shown(await door.reading.run(queries.find_definition, name, None))


@router.get("/{name}/{version}")
async def get_version(name: Name, version: Version, door: Door, _: Reader) -> DefinitionView:
    """One version."""
    return _shown(await door.reading.run(queries.find_definition, name, version))


@router.get("/{name}/{version}/diff")
async def compare(
    name: Name,
    version: Version,
    door: Door,
    _: Reader,
    to: Annotated[str, Query(max_length=140, description="`NAME@VERSION`, or `NAME`: its active version.")],
) -> DiffView:
    """What another definition changes of this one, place by place."""
    match = _VERSIONED.fullmatch(to)
    if match is None:
        raise Refusal(422, "invalid_request", "to: must be NAME@VERSION, or NAME", "to")
    wanted = int(match["version"]) if match["version"] is not None else None
    old = await door.reading.run(queries.find_definition, name, version)
    new = await door.reading.run(queries.find_definition, match["name"], wanted)
    # Two large definitions take a while to compare: not on the event loop.
    changes = await door.reading.run(lambda _: differences(_read(old), _read(new)))
    return DiffView(
        old=f"{old.row.name}@{old.row.version}",
        new=f"{new.row.name}@{new.row.version}",
        changes=[
            ChangeView(place=one.place, what=one.what, before=one.before, after=one.after) for one in changes
        ],
    )


@router.post("/{name}/activate")
async def activate(name: Name, body: ActivateBody, door: Door, caller: Applier) -> ActivatedView:
    """Let new sagas of this name take this version, newer or older than the one they take now.

    Refused if the calls of sagas would come back to it by that.
    """
    check = door.engine.catalog.check_calls
    done = await door.reading.run(
        rollout.activate, name, body.version, actor=caller.name, reason=body.reason, check=check
    )
    return ActivatedView(name=done.name, version=done.version, before=done.before)


@router.post("/{name}/suspend")
async def suspend(name: Name, body: SwitchBody, door: Door, caller: Applier) -> SwitchedView:
    """Let starts of this name wait: messages come again until it is resumed, HTTP answers 409 `suspended`."""
    return _switched(await door.reading.run(rollout.suspend, name, actor=caller.name, reason=body.reason))


@router.post("/{name}/resume")
async def resume(name: Name, body: SwitchBody, door: Door, caller: Applier) -> SwitchedView:
    """Let starts of this name begin again."""
    return _switched(await door.reading.run(rollout.resume, name, actor=caller.name, reason=body.reason))


def _read(stored: StoredDefinition) -> Definition:
    return Definition.from_json(dict(stored.body))


def _switched(done: rollout.Switched) -> SwitchedView:
    suspended = None
    if done.suspension is not None:
        one = done.suspension
        suspended = SuspensionView(since=one.since, by=one.actor, reason=one.reason)
    return SwitchedView(name=done.name, changed=done.changed, suspended=suspended)


def _line(row: DefinitionRow) -> DefinitionLine:
    suspended = None
    if row.suspended_at is not None:
        suspended = SuspensionView(
            since=row.suspended_at, by=row.suspended_by or "", reason=row.suspended_for or ""
        )
    return DefinitionLine(
        name=row.name,
        version=row.version,
        hash=row.hash,
        active=row.active,
        suspended=suspended,
        live=row.live,
        registered_at=row.registered_at,
        registered_by=row.registered_by,
    )


def _shown(stored: StoredDefinition) -> DefinitionView:
    return DefinitionView(**_line(stored.row).model_dump(), definition=dict(stored.body))
