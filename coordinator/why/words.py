"""How times, ops and commands are written in explanations."""

from __future__ import annotations

from amends.coordinator.records import StepRow

REASON = "--reason ..."


def lasting(ms: int) -> str:
    """A length of time to the unit that matters: `40 s`, `15 min`, `3 h`, `8 d`.

    For texts: they are written here, and their readers' time zones are known only where they are read.
    """
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if ms >= 2 * unit:
            return f"{ms // unit:,} {name}"
    return f"{max(ms, 0) // 1000} s"


def asked(step: StepRow) -> str:
    """What is asked of the participant: `charge`, `undo of charge`."""
    return f"{step.op} of {step.path}" if step.op != "do" else step.path


def tries(step: StepRow) -> int | None:
    """Which try of its op is under way; None where nobody has counted. Before any other op `attempt` says it."""
    return step.tries if step.tries is not None else step.attempt if step.op == "do" else None


def attempt(step: StepRow) -> str:
    """What is under way, in front of a verb: `undo of charge, attempt 3,`."""
    number = tries(step)
    return asked(step) if number is None else f"{asked(step)}, attempt {number},"


def participant(step: StepRow) -> str:
    """Whom it is asked of."""
    return step.queue.rpartition(".")[0]


def plural(count: int, word: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def retry(saga_id: str, step: StepRow | None = None, *, deadline: bool = False) -> str:
    """The command that asks again."""
    path = f" --step {step.path}" if step is not None else ""
    return f"amends sagas retry {saga_id}{path}{' --deadline 24h' if deadline else ''} {REASON}"


def start_worker(step: StepRow) -> str:
    """The command that starts who is missing."""
    return f"amends participant MODULE:{participant(step)}"
