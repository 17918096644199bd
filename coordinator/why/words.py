"""How times, ops and commands are written in explanations."""

from __future__ import annotations

from datetime import UTC, datetime

from amends.coordinator.records import StepRow

REASON = "--reason ..."


def clock(ms: int) -> str:
    """A time in milliseconds since 1970, in ISO 8601."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def asked(step: StepRow) -> str:
    """What is asked of the participant: `charge`, `undo of charge`."""
    return f"{step.op} of {step.path}" if step.op != "do" else step.path


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
