"""Participants that tests run as programs of their own: `amends participant tests.participants.programs:counter`."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from amends.participants import Ctx, Participant
from tests.participants.shop import record

log = logging.getLogger("service")

counter = Participant("counter")
hasty = Participant("hasty")


@counter.command
def count_up(cmd: float, ctx: Ctx) -> int:
    """Leave one effect, after so many seconds; says which process did it."""
    log.info("counting", extra={"cmd": cmd})
    record(ctx.connection, "count", ctx.saga)
    time.sleep(cmd)
    return os.getpid()


@hasty.command(time_limit_s=1)
@counter.command
def hang(cmd: str) -> str:
    """Hang for longer than any test takes, unless a run before has left this file behind."""
    been_here = Path(cmd)
    if not been_here.exists():
        been_here.touch()
        time.sleep(3_600)
    return "fine"
