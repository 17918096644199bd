"""When a schedule is due: a cron expression read in a time zone, as Debian's cron reads it.

Instants are milliseconds since 1970, UTC, on whole minutes; nothing here asks what time it is. The library is
cronsim (`docs/decisions`): a fixed hour that the clocks skip runs when they have moved on, one that they repeat runs
once, and what runs every so many minutes or hours goes on at even distances.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from amends.coordinator.errors import InvalidSchedule

CRON_CHARS_MAX: Final = 200
ZONE_CHARS_MAX: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# What a machine calls its own time: another coordinator's may be another.
_OF_A_MACHINE: Final = frozenset({"localtime", "posixrules", "Factory"})
_FORM: Final = (
    "five fields: minute hour day-of-month month day-of-week, such as `*/5 * * * *` or `0 3 * * MON-FRI`"
)
# In the order of the fields, by the names that cronsim has for them.
_RANGES: Final = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, a day that the month has, or L for its last",
    "month": "1 to 12, or JAN to DEC",
    "day-of-week": "0 to 7, or SUN to SAT",
}


class Cron:
    """A cron expression in a time zone, checked when it is built."""

    def __init__(self, expression: str, timezone: str) -> None:
        """Raises: InvalidSchedule, which names the field `timezone` or `cron` and says what it may be."""
        self._expression = expression
        self._zone = _zone(timezone)
        if len(expression) > CRON_CHARS_MAX:
            raise InvalidSchedule("cron", f"has more than {CRON_CHARS_MAX} characters")
        if len(expression.split()) != 5:
            raise InvalidSchedule("cron", f"must have {_FORM}")
        try:
            next(CronSim(expression, _EPOCH.astimezone(self._zone)))
        except CronSimError as error:
            raise InvalidSchedule("cron", _fault(expression, str(error))) from None
        except StopIteration:
            raise InvalidSchedule("cron", "never comes: no such day within fifty years") from None

    def after(self, instant_ms: int) -> Iterator[int]:
        """The instants after this one, in order. Ends where none comes within fifty years."""
        start = datetime.fromtimestamp(instant_ms / 1000, self._zone)
        for due in CronSim(self._expression, start):
            due_ms = round(due.timestamp()) * 1000
            # Started within an hour that the clocks repeat, cronsim may begin with the hour's first turn.
            if due_ms > instant_ms:
                yield due_ms

    def next(self, instant_ms: int) -> int:
        """The first instant after this one. Raises: InvalidSchedule if none comes."""
        for due_ms in self.after(instant_ms):
            return due_ms
        raise InvalidSchedule("cron", "comes no more within fifty years")


def _fault(expression: str, error: str) -> str:
    """Which field is at fault, as the library says it, and what it may be."""
    name = error.removeprefix("Bad ")
    if name not in _RANGES:
        return f"{error.lower()}; it must have {_FORM}"
    given = expression.split()[list(_RANGES).index(name)]
    return f"bad {name} {given!r}: it is {_RANGES[name]}"


def _zone(name: str) -> ZoneInfo:
    problem = (
        f"is no time zone: give a name of the IANA database, such as Europe/Berlin or UTC (not {name[:64]!r})"
    )
    if not name or len(name) > ZONE_CHARS_MAX or name in _OF_A_MACHINE:
        raise InvalidSchedule("timezone", problem)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # Unknown; climbs out of the database; is a folder of it.
        raise InvalidSchedule("timezone", problem) from None
