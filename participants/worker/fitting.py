"""Whether a participant's handlers fit a worker's settings; refused before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from amends.outbox.wire import Op
from amends.participants.limits import Limits
from amends.participants.participant import Participant
from amends.participants.worker.settings import CONSUMER_TIMEOUT_S, WorkerSettings
from amends.participants.worker.turnstile import HOLD_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What handlers and settings come to together.

    `batch` is the most that a thread takes at once, `at_hand` how many messages it may have, `longest_s` the longest
    that any handler may take, `limits` those of the `do` handlers, by command.
    """

    batch: int
    at_hand: int
    longest_s: float
    limits: Mapping[str, Limits]


def fit(participant: Participant, settings: WorkerSettings) -> Fit:
    """Raises: ValueError, naming the handler, for limits that this worker cannot keep."""
    handlers = participant.handlers(Op.DO)
    for handler in handlers:
        limit_s = handler.limits.time_limit_s
        if limit_s is not None and settings.processes == 1 and not handler.signature.is_async:
            raise ValueError(
                f"{participant.name}.{handler.name} has a time_limit_s of {limit_s:g}: a thread cannot be stopped, "
                f"only a process. Run the worker with processes=2 or more, make the handler async, "
                f"or give it a soft_time_limit_s and call ctx.check_time()"
            )
    limits = {handler.name: handler.limits for handler in handlers}
    batch = max([settings.batch, *(one.batch or 1 for one in limits.values())])
    longest_s = max([settings.time_limit_s, *(one.time_limit_s or 0.0 for one in limits.values())])
    at_hand = max(settings.at_hand, batch)
    held_s = HOLD_S if any(one.queued for one in limits.values()) else 0.0
    if at_hand * longest_s + held_s >= CONSUMER_TIMEOUT_S:
        raise ValueError(
            f"{participant.name}: {at_hand} messages at hand for a thread (prefetch, or the largest batch) times "
            f"{longest_s:g} s (the longest time_limit_s){f' plus {held_s:g} s' if held_s else ''} must stay under "
            f"{CONSUMER_TIMEOUT_S:g} s, the time after which brokers take messages away from a consumer (B8); "
            f"lower one of them"
        )
    return Fit(batch=batch, at_hand=at_hand, longest_s=longest_s, limits=limits)
