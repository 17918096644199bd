"""When schedules are due: cron expressions in time zones, whose clocks skip an hour and repeat one."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amends.coordinator.errors import InvalidSchedule
from amends.coordinator.schedules.cron import Cron

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",  # its clocks change at midnight
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kathmandu",
    "Africa/Casablanca",
)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def instants(expression: str, zone: str, after: str, count: int) -> list[str]:
    """The first instants after a moment, in the zone's own time with its offset."""
    found = islice(Cron(expression, zone).after(ms(after)), count)
    return [datetime.fromtimestamp(one / 1000, ZoneInfo(zone)).strftime("%d %H:%M%z") for one in found]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # A fixed time in the hour that is skipped runs when the clocks have moved on, once.
        ("30 2 * * *", ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]),
        ("0,30 2 * * *", ["28 02:00+0100", "28 02:30+0100", "29 03:00+0200", "30 02:00+0200"]),
        # What runs every so often goes on at even distances.
        ("0 * * * *", ["28 02:00+0100", "28 03:00+0100", "28 04:00+0100"]),
        ("0 3 * * *", ["28 03:00+0100", "29 03:00+0200", "30 03:00+0200"]),
    ],
)
def test_in_the_night_in_which_the_clocks_skip_an_hour(expression: str, expected: list[str]) -> None:
    assert instants(expression, "Europe/Berlin", "2026-03-28T01:30+01:00", len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # A fixed time in the hour that is repeated runs once, the first time.
        ("30 2 * * *", ["25 02:30+0200", "26 02:30+0100"]),
        # What runs every so often runs in both.
        ("30 * * * *", ["25 01:30+0200", "25 02:30+0200", "25 02:30+0100", "25 03:30+0100"]),
        ("*/30 2 * * *", ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100"]),
    ],
)
def test_in_the_night_in_which_the_clocks_repeat_an_hour(expression: str, expected: list[str]) -> None:
    assert instants(expression, "Europe/Berlin", "2026-10-25T01:00+02:00", len(expected)) == expected


def test_what_was_due_before_the_hour_repeats_is_not_due_again_in_it() -> None:
    """Resumed at 02:15 the second time: 02:30 was the first time's. Guard: `due_ms > instant_ms` in Cron.after."""
    assert instants("30 2 * * *", "Europe/Berlin", "2026-10-25T02:15+01:00", 1) == ["26 02:30+0100"]


def test_a_zone_is_its_own_time_all_year() -> None:
    assert instants("0 9 * * *", "Europe/Berlin", "2026-01-31T23:00+00:00", 1) == ["01 09:00+0100"]
    assert instants("0 9 * * *", "Europe/Berlin", "2026-07-31T23:00+00:00", 1) == ["01 09:00+0200"]


minutes = st.sampled_from(["*", "*/7", "0", "30", "15,45", "5-50/9"])
hours = st.sampled_from(["*", "*/3", "0", "2", "2,3", "1-4", "23"])
days = st.sampled_from(["*", "1", "L", "*/2", "28-31"])
weekdays = st.sampled_from(["*", "SUN", "MON-FRI", "FRI#2"])


@settings(max_examples=150, deadline=None)
@given(
    expression=st.tuples(minutes, hours, days, st.just("*"), weekdays).map(" ".join),
    zone=st.sampled_from(ZONES),
    minute=st.integers(0, 366 * 1440),
    part=st.floats(0, 1, exclude_max=True),
)
def test_instants_come_in_order_and_do_not_depend_on_when_one_asks(
    expression: str, zone: str, minute: int, part: float
) -> None:
    """Every coordinator, whenever it asks, sees the same instants: exactly once rests on it (S4)."""
    start = round((datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)).timestamp() * 1000)
    cron = Cron(expression, zone)

    found = list(islice(cron.after(start), 30))

    assert found == sorted(set(found))
    assert all(one % 60_000 == 0 for one in found)
    for one, following in pairwise(found):
        between = one + int((following - one) * part)
        assert cron.next(between) == following


@settings(max_examples=400, deadline=None)
@given(
    expression=st.one_of(
        st.text(max_size=30),
        st.lists(st.text("0123456789*/,-#LWSUNMOJA", max_size=8), min_size=5, max_size=5).map(" ".join),
    ),
    zone=st.one_of(st.sampled_from(ZONES), st.text(max_size=20)),
)
def test_whatever_is_written_is_a_schedule_or_is_told_what_is_wrong(expression: str, zone: str) -> None:
    with suppress(InvalidSchedule):
        assert Cron(expression, zone).next(0) > 0


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "61 * * * *", "@daily", "0 0 30 2 *", "0 0 * 2 MON#5 *", "R * * * *"],
)
def test_a_bad_expression_is_refused_with_the_form(expression: str) -> None:
    with pytest.raises(
        InvalidSchedule, match=r"five fields|never comes|bad [a-z-]+ '.+': it is [01] to"
    ) as refused:
        Cron(expression, "UTC")
    assert refused.value.field == "cron"


@pytest.mark.parametrize(
    "zone", ["", "Berlin", "Europe", "../etc/passwd", "/etc/localtime", "localtime", "x" * 65]
)
def test_a_zone_is_one_of_the_iana_database_and_the_same_on_every_machine(zone: str) -> None:
    with pytest.raises(InvalidSchedule, match="Europe/Berlin or UTC") as refused:
        Cron("* * * * *", zone)
    assert refused.value.field == "timezone"
