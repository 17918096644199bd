"""`settings.AMENDS`: read once, and what is wrong with it is said by `manage.py check`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from amends.participants.django.settings import AmendsSettings, amends_settings
from tests.django.project import databases

GOOD = {"SERVICE": "shop"}

WRONG: list[tuple[object, str, str]] = [
    (None, "E001", "is not set"),
    (["SERVICE"], "E001", "not a dict"),
    ({**GOOD, "BROKER": "x"}, "E002", "unknown key 'BROKER'"),
    ({}, "E003", "has no SERVICE"),
    ({"SERVICE": "9 lives"}, "E003", "'9 lives'"),
    ({**GOOD, "PREFIX": ""}, "E004", "['PREFIX'] is ''"),
    ({**GOOD, "DATABASE": "nowhere"}, "E005", "'nowhere', which DATABASES has not"),
    ({**GOOD, "DATABASE": ["default"]}, "E005", "which DATABASES has not"),
    ({**GOOD, "DATABASE": "empty"}, "E006", "which is on unknown"),
    ({**GOOD, "BROKER_URL": "redis://:secret@host"}, "E008", "starts with 'redis'"),
    ({**GOOD, "PARTICIPANT": "shop.payments"}, "E009", "'shop.payments'"),
    ({**GOOD, "URL": 8080}, "E010", "['URL'] is no text"),
]


def found() -> list[Any]:
    return [one for one in run_checks() if one.id.startswith("amends.")]


@pytest.mark.parametrize(("value", "check", "what"), WRONG)
def test_a_wrong_setting_is_a_finding_that_says_where_and_the_mend(
    value: object, check: str, what: str
) -> None:
    """Guard: each rule of `problems`; without `checks.register` none is told."""
    with databases(empty={"ENGINE": "django.db.backends.dummy"}), override_settings(AMENDS=value):
        (told,) = found()

        assert told.id == f"amends.{check}"
        assert what in told.msg
        assert told.hint
        assert "secret" not in told.msg + told.hint
        with pytest.raises(ImproperlyConfigured, match="AMENDS"):
            amends_settings()


def test_good_settings_are_read_once_into_a_value() -> None:
    given = {
        "SERVICE": "shop",
        "PREFIX": "north",
        "BROKER_URL": "pyamqp://user:secret@host//",
        "PARTICIPANT": "shop.payments:payments",
        "TOKEN": "secret",
    }
    with override_settings(AMENDS=given):
        assert found() == []
        read = amends_settings()

        assert (read.service, read.prefix, read.database) == ("shop", "north", "default")
        assert read is amends_settings()
        assert "secret" not in repr(read)
    assert amends_settings() == AmendsSettings(service="shop")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with override_settings(AMENDS={"PREFIX": 1, "PARTICIPANT": 2}):
        assert [one.id for one in found()] == ["amends.E003", "amends.E004", "amends.E009"]


_WITHOUT_DJANGO = """
import sys
sys.modules["django"] = None
import amends.participants
import amends.participants.django
"""


def test_without_django_it_prints_its_pip_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _WITHOUT_DJANGO], capture_output=True, text=True, check=False
    )

    assert "pip install 'amends[django]'" in ended.stderr


_ON_PSYCOPG2 = """
import sys
sys.modules["psycopg"] = None
from django.conf import settings
settings.configure(
    AMENDS={"SERVICE": "shop"},
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}},
    INSTALLED_APPS=["amends.participants.django"],
)
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "check"])
"""


def test_a_project_on_psycopg2_is_told_to_install_psycopg() -> None:
    """Guard: E007; without it the first handler of a worker would say so, in production."""
    ended = subprocess.run([sys.executable, "-c", _ON_PSYCOPG2], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "(amends.E007)" in ended.stderr
    assert "reaches through psycopg2" in ended.stderr
    assert "pip install 'amends[postgresql]'" in ended.stderr
