"""What one handler may take of its worker: how many at once, how often, for how long, how large."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from amends.outbox.limits import BODY_BYTES_MAX
from amends.participants.errors import InvalidHandler

RATE_MAX: Final = 100_000  # A worker remembers so many instants.
_RATE: Final = re.compile(r"(\d+)\s*/\s*([smh])")
_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in any `window_s` seconds."""

    count: int
    window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """One handler's limits, in each worker process; None is the worker's own setting, or none.

    `concurrency` run at once; `rate` is how many begin in a window of time. `soft_time_limit_s` is what
    `ctx.check_time()` goes by; at `time_limit_s` an async handler is cancelled, and of any other the worker process is
    replaced. Up to `batch` new commands share a transaction (B7). Args over `payload_bytes_max` bytes are refused.
    """

    concurrency: int | None = None
    rate: Rate | None = None
    soft_time_limit_s: float | None = None
    time_limit_s: float | None = None
    batch: int | None = None
    payload_bytes_max: int | None = None

    @property
    def queued(self) -> bool:
        """Whether commands may have to wait for others of this handler."""
        return self.concurrency is not None or self.rate is not None


NO_LIMITS: Final = Limits()


def read_limits(
    what: str,
    *,
    external: bool,
    concurrency: int | None,
    rate: str | None,
    soft_time_limit_s: float | None,
    time_limit_s: float | None,
    batch: int | None,
    payload_bytes_max: int | None,
) -> Limits:
    """The limits that a handler declares; `what` names it. Raises: InvalidHandler for those that cannot work."""
    for name, count in (
        ("concurrency", concurrency),
        ("batch", batch),
        ("payload_bytes_max", payload_bytes_max),
    ):
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise InvalidHandler(f"{what}: {name} is a whole number from 1, not {count!r}")
    for name, seconds in (("soft_time_limit_s", soft_time_limit_s), ("time_limit_s", time_limit_s)):
        if seconds is not None and not (_is_number(seconds) and 0 < seconds < float("inf")):
            raise InvalidHandler(f"{what}: {name} is a number of seconds above 0, not {seconds!r}")
    if soft_time_limit_s is not None and time_limit_s is not None and soft_time_limit_s >= time_limit_s:
        raise InvalidHandler(
            f"{what}: soft_time_limit_s {soft_time_limit_s:g} must be below time_limit_s {time_limit_s:g}"
        )
    if payload_bytes_max is not None and payload_bytes_max > BODY_BYTES_MAX:
        raise InvalidHandler(f"{what}: no message is larger than {BODY_BYTES_MAX:,} bytes")
    if batch is not None and batch > 1 and external:
        raise InvalidHandler(f"{what}: external commands share no transaction; leave out batch")
    if batch is not None and concurrency is not None and batch > concurrency:
        raise InvalidHandler(
            f"{what}: a batch of {batch} would be more than {concurrency} at once; raise concurrency or lower batch"
        )
    return Limits(
        concurrency=concurrency,
        rate=None if rate is None else _rate(what, rate),
        soft_time_limit_s=soft_time_limit_s,
        time_limit_s=time_limit_s,
        batch=batch,
        payload_bytes_max=payload_bytes_max,
    )


def _rate(what: str, text: str) -> Rate:
    match = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or not 1 <= int(match[1]) <= RATE_MAX:
        raise InvalidHandler(
            f"{what}: rate is a number from 1 to {RATE_MAX:,} in a second, minute or hour, "
            f"such as '5/s', '100/m' or '1000/h', not {text!r}"
        )
    return Rate(int(match[1]), _UNITS_S[match[2]])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
