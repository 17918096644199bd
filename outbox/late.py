"""Rows that were confirmed late: whoever times their answers must start again (M4)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from amends.outbox.message import OutboxRow

log = logging.getLogger(__name__)

LATE_S: Final = 1.0

# Gets each row, and how many seconds passed from its insert to its confirm.
LateConfirmHook = Callable[[list[tuple[OutboxRow, float]]], None]


def tell_late(hook: LateConfirmHook | None, late: list[tuple[OutboxRow, float]]) -> None:
    """Tell the hook, if there is one. What it raises is logged: publishing goes on."""
    if hook is None:
        return
    try:
        hook(late)
    except Exception:
        log.exception("late_confirm_hook_failed", extra={"rows": len(late)})
