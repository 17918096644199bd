"""A participant that tests also run as a program: `amends participant tests.interleavings.programs:payments`."""

from __future__ import annotations

import time
from typing import Any, Final

from amends.participants import Ctx, Participant
from tests.participants.shop import record

WORK_S: Final = 0.05

payments = Participant("payments")


@payments.command
def charge(cmd: dict[str, Any], ctx: Ctx) -> str:
    """Leave an effect; take a moment over it, so that a worker that is told to stop is in the middle of something."""
    record(ctx.connection, "charge", ctx.saga)
    time.sleep(WORK_S)
    return ctx.saga


@payments.command
def notify(cmd: dict[str, Any], ctx: Ctx) -> None:
    """As `charge`."""
    record(ctx.connection, "notify", ctx.saga)
    time.sleep(WORK_S)
