"""How a coordinator works: one frozen value, checked when it is built."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Limits and intervals of one coordinator. `_s` are seconds.

    `window` bounds the commands sent to one participant and not answered (E4). `breaker_failures` timeouts in a row
    open a queue's breaker; then it is probed after `probe_first_s`, doubling to `probe_longest_s` (M6).
    `unknown_version_s` is how long a start of an unknown version is left to come again (S2); a start that waits, and
    that nobody else would send again, comes again after `again_s`. `retention_s` is how long an ended saga is kept
    (E5), `placeholder_s` what came for a saga that never started (S1). A message that the broker did not confirm
    within `confirm_s` is handed to the sweep, and its destination is suspect (O4). A schedule's run that is overdue by
    more than `schedule_late_s` is late (S4). Of sagas that it wrote last it keeps some at hand, in about
    `shelf_bytes_max` of memory.
    """

    batch_events_max: int = 300
    prefetch: int = 1_000
    window: int = 2_000
    body_bytes_max: int = 1_048_576
    shelf_bytes_max: int = 64 * 1_048_576
    breaker_failures: int = 5
    probe_first_s: float = 5.0
    probe_longest_s: float = 60.0
    timers_max: int = 500
    timer_poll_s: float = 0.1
    timer_lease_s: float = 30.0
    schedule_poll_s: float = 0.5
    schedule_late_s: float = 60.0
    refresh_s: float = 1.0
    unknown_version_s: float = 3_600.0
    again_s: float = 30.0
    retention_s: float = 30 * 86_400.0
    placeholder_s: float = 7 * 86_400.0
    prune_every_s: float = 60.0
    retry_first_s: float = 0.2
    retry_longest_s: float = 5.0
    confirm_s: float = 20.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value <= 0:
                raise ValueError(f"{one.name} must be more than 0, not {value}")
