"""Participants that tests run as programs: `amends participant tests.events.programs:listener`."""

from __future__ import annotations

from typing import Any

from amends.participants import EventCtx, Participant
from tests.participants.shop import record

listener = Participant("listener")


@listener.on("user.created")
def note(data: Any, ctx: EventCtx) -> None:
    """One effect, and an event that tells of it."""
    record(ctx.connection, "note", ctx.id)
    ctx.emit("user.noted", subject=ctx.id)


@listener.on("user.noted")
def end(data: Any, ctx: EventCtx) -> None:
    """One effect."""
    record(ctx.connection, "end", ctx.subject)
