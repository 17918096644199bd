"""What becomes of instants that passed before anybody fired them: the policy for missed runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import Final

from amends.coordinator.schedules.cron import Cron

MADE_UP_MAX: Final = 100  # `all` makes up for at most so many, the latest
FIRED_MAX: Final = 10  # in one transaction
COUNTED_MAX: Final = 10_000
MINUTE_MS: Final = 60_000


class Missed(StrEnum):
    """The policy. `once`: one run for all that passed, the latest. `skip`: none that is late. `all`: each of them."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a schedule that is due. Instants in ms since 1970.

    `fire`: start a saga for each of these, oldest first. `next_due`: then it is due next; in the past where more is
    to be made up than one transaction takes. `missed`: so many instants pass without a run.
    """

    fire: tuple[int, ...]
    next_due: int
    missed: int


def plan(cron: Cron, policy: Missed, due_ms: int, now_ms: int, late_ms: int) -> Plan:
    """What to do about instant `due_ms` and those after it up to now. Late is what is overdue by more than `late_ms`.

    Raises: InvalidSchedule if no instant comes after now.
    """
    passed, count = _passed(cron, due_ms, now_ms)
    match policy:
        case Missed.ONCE:
            fire = passed[-1:]
        case Missed.SKIP:
            fire = [instant for instant in passed if now_ms - instant <= late_ms]
        case Missed.ALL:
            fire = passed[-MADE_UP_MAX:]
    missed = count - len(fire)
    if len(fire) > FIRED_MAX:
        return Plan(tuple(fire[:FIRED_MAX]), fire[FIRED_MAX], missed)
    return Plan(tuple(fire), cron.next(now_ms), missed)


def _passed(cron: Cron, due_ms: int, now_ms: int) -> tuple[list[int], int]:
    """The instants from `due_ms` to now, and how many they are.

    After an outage of years only the latest are looked for, from ever further back until there are enough, and the
    count is the least that they are.
    """
    passed = [due_ms]
    for instant in cron.after(due_ms):
        if instant > now_ms:
            return passed, len(passed)
        if len(passed) == COUNTED_MAX:
            break
        passed.append(instant)
    back_ms = MADE_UP_MAX * MINUTE_MS
    while True:
        latest = list(takewhile(lambda instant: instant <= now_ms, cron.after(now_ms - back_ms)))
        if len(latest) >= MADE_UP_MAX or now_ms - back_ms <= due_ms:
            return latest, COUNTED_MAX
        back_ms *= 2
