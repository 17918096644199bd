"""Whether this process lives, whether it can serve, and its numbers. Open to everybody, without payloads."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response
from sqlalchemy import Engine

from amends.coordinator.http.door import Door
from amends.coordinator.http.views import HealthView, ReadyView
from amends.coordinator.metrics import CONTENT_TYPE
from amends.db.errors import SchemaOutdated, StoreUnavailable
from amends.db.schema import require_schema

router = APIRouter(tags=["health"])

LOOP_AGE_S_MAX: Final = 60.0


@router.get("/healthz")
async def healthz(door: Door, response: Response) -> HealthView:
    """200 while this process's own loop turns, whatever its database and broker do; else restart it."""
    status = door.engine.status()
    alive = status.running and status.loop_age_s < LOOP_AGE_S_MAX
    response.status_code = 200 if alive else 503
    return HealthView(status="ok" if alive else "stalled", loop_age_s=round(status.loop_age_s, 3))


@router.get("/readyz")
async def readyz(door: Door, response: Response) -> ReadyView:
    """200 while it can take work: the database answers and has the schema.

    A broker that is away is told of but ready: what is accepted waits in the outbox.
    """
    try:
        database = await door.reading.run(_schema)
    except StoreUnavailable:
        database = "away"
    status = door.engine.status()
    ready = status.running and database == "up"
    response.status_code = 200 if ready else 503
    return ReadyView(
        status="ready" if ready else "not ready",
        database=database,
        broker="up" if status.broker_up else "away",
    )


@router.get("/metrics", response_class=Response)
async def metrics(door: Door) -> Response:
    """For Prometheus."""
    text = await door.reading.run(lambda _: door.scrape())
    return Response(text, media_type=CONTENT_TYPE)


def _schema(database: Engine) -> str:
    try:
        require_schema(database, "coordinator")
    except SchemaOutdated:
        return "outdated: run `amends migrate`"
    return "up"
