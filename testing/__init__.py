"""The test kit: sagas told as stories, handlers run behind their barrier, a coordinator with a clock, every crash.

    amends_saga         given, when, then for a definition, without servers
    amends_participant  one handler with its barrier: twice, out of order, undo first
    amends_coordinator  a coordinator, its PostgreSQL and broker embedded, with participants beside it
    amends_clock        a quarter of an hour in milliseconds
    crash_everywhere    the author's own handlers against every crash, copy and order

The pytest plugin is `amends.testing.plugin`. What is imported from here is loaded when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from amends.testing.answers import (
        Answer,
        done,
        expired,
        failed,
        never,
        nothing,
        refused,
        silence,
        stuck,
        unknown,
    )
    from amends.testing.bench import Letter, ParticipantBench
    from amends.testing.commands import Asked, confirm, do, fence, undo
    from amends.testing.crashing import crash_everywhere
    from amends.testing.errors import (
        CrashFound,
        NotAwaited,
        NotServed,
        TestKitError,
        UnknownStep,
        WrongAnswer,
    )
    from amends.testing.happenings import (
        after,
        compensate,
        deadline,
        edit,
        finish,
        force,
        retry,
        signal,
        skip,
        told,
    )
    from amends.testing.story import Story

_HOMES: Final = {
    "answers": (
        "Answer", "done", "expired", "failed", "never", "nothing", "refused", "silence", "stuck", "unknown",
    ),
    "bench": ("Letter", "ParticipantBench"),
    "commands": ("Asked", "confirm", "do", "fence", "undo"),
    "crashing": ("crash_everywhere",),
    "errors": ("CrashFound", "NotAwaited", "NotServed", "TestKitError", "UnknownStep", "WrongAnswer"),
    "happenings": (
        "after", "compensate", "deadline", "edit", "finish", "force", "retry", "signal", "skip", "told",
    ),
    "story": ("Story",),
}  # fmt: skip
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Answer", "Asked", "CrashFound", "Letter", "NotAwaited", "NotServed", "ParticipantBench", "Story",
    "TestKitError", "UnknownStep", "WrongAnswer", "after", "compensate", "confirm", "crash_everywhere", "deadline",
    "do", "done", "edit", "expired", "failed", "fence", "finish", "force", "never", "nothing", "refused", "retry",
    "signal", "silence", "skip", "stuck", "told", "undo", "unknown",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
