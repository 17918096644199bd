"""`settings.AMENDS`: read once into a frozen value; what is wrong with it is a system check's finding.

SERVICE       who starts sagas and whose receipts come back; its relay has the same name. Needed.
PREFIX        what queues begin with; by default `amends`.
DATABASE      the alias in DATABASES whose tables are used; by default `default`.
BROKER_URL    for `manage.py amends_participant`.
PARTICIPANT   `module:object`, for `manage.py amends_participant`.
URL, TOKEN    the coordinator's door, for `client().get(...)` and the like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

from amends.outbox.broker import open_broker
from amends.outbox.errors import UnsupportedBroker
from amends.participants.django.tables import VENDORS

_KEYS: Final = ("SERVICE", "PREFIX", "DATABASE", "BROKER_URL", "PARTICIPANT", "URL", "TOKEN")
# Names become parts of queue names.
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,59}")
_REFERENCE: Final = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
_NAME_RULE: Final = "begin with a letter; letters, digits, . _ - follow, at most 60 in all"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendsSettings:
    """`settings.AMENDS`, checked. Its text leaves out what is secret."""

    service: str
    prefix: str = "amends"
    database: str = DEFAULT_DB_ALIAS
    broker_url: str | None = field(default=None, repr=False)
    participant: str | None = None
    url: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong: a check's id, what and where, the mend."""

    id: str
    what: str
    mend: str


@lru_cache(maxsize=1)
def amends_settings() -> AmendsSettings:
    """The settings. Raises: ImproperlyConfigured, with all that is wrong."""
    raw = getattr(settings, "AMENDS", None)
    found = list(problems(raw))
    if found or not isinstance(raw, Mapping):
        raise ImproperlyConfigured(" ".join(f"{one.what}. {one.mend}." for one in found))
    return AmendsSettings(**{name.lower(): value for name, value in raw.items()})


def forget(*, setting: str, **_others: Any) -> None:
    """Read them again, since a test has changed them."""
    if setting in ("AMENDS", "DATABASES"):
        amends_settings.cache_clear()


def check(**_options: Any) -> list[Any]:
    """For `manage.py check`."""
    found = problems(getattr(settings, "AMENDS", None))
    return [checks.Error(one.what, hint=f"{one.mend}.", id=one.id) for one in found]


def problems(raw: object) -> Iterator[Problem]:
    """What is wrong with a value of `settings.AMENDS`. No I/O; values that may be secret are not repeated."""
    if not isinstance(raw, Mapping):
        yield Problem(
            "amends.E001",
            "settings.AMENDS is not set" if raw is None else "settings.AMENDS is not a dict",
            'Set AMENDS = {"SERVICE": "shop"}, with the name of this service',
        )
        return
    for name in raw:
        if name not in _KEYS:
            yield Problem(
                "amends.E002", f"settings.AMENDS has an unknown key {name!r}", f"Known are {', '.join(_KEYS)}"
            )
    yield from _names(raw)
    yield from _database(raw.get("DATABASE", DEFAULT_DB_ALIAS))
    yield from _addresses(raw)


def _names(raw: Mapping[Any, object]) -> Iterator[Problem]:
    if "SERVICE" not in raw:
        yield Problem(
            "amends.E003",
            "settings.AMENDS has no SERVICE",
            'Add "SERVICE": "shop", with the name of this service',
        )
    for id_, name in (("amends.E003", "SERVICE"), ("amends.E004", "PREFIX")):
        value = raw.get(name, "a")
        if not isinstance(value, str) or _NAME.fullmatch(value) is None:
            yield Problem(id_, f"settings.AMENDS[{name!r}] is {value!r}", f"It must {_NAME_RULE}")


def _database(alias: object) -> Iterator[Problem]:
    where = f"settings.AMENDS['DATABASE'] is {alias!r}"
    if alias not in list(connections):
        known = ", ".join(sorted(connections)) or "none"
        yield Problem("amends.E005", f"{where}, which DATABASES has not", f"Use one of its aliases: {known}")
        return
    wrapper = connections[alias]
    if wrapper.vendor not in VENDORS:
        yield Problem(
            "amends.E006",
            f"{where}, which is on {wrapper.vendor}",
            "amends works on PostgreSQL and SQLite: name an alias that is on one of them",
        )
    elif wrapper.vendor == "postgresql" and wrapper.Database.__name__ != "psycopg":
        yield Problem(
            "amends.E007",
            f"{where}, which Django reaches through {wrapper.Database.__name__}",
            "Install psycopg 3, which Django prefers: pip install 'amends[postgresql]'",
        )


def _addresses(raw: Mapping[Any, object]) -> Iterator[Problem]:
    broker = raw.get("BROKER_URL")
    if broker is not None:
        try:
            open_broker(str(broker)).close()
        except UnsupportedBroker as error:
            yield Problem(
                "amends.E008",
                f"settings.AMENDS['BROKER_URL'] cannot be used: {error}",
                "Write pyamqp://user:password@host:5672//",
            )
    participant = raw.get("PARTICIPANT")
    if participant is not None and not (isinstance(participant, str) and _REFERENCE.fullmatch(participant)):
        yield Problem(
            "amends.E009",
            f"settings.AMENDS['PARTICIPANT'] is {participant!r}",
            "Write module:object, such as shop.payments:payments",
        )
    for name in ("URL", "TOKEN"):
        if not isinstance(raw.get(name, ""), str):
            yield Problem("amends.E010", f"settings.AMENDS[{name!r}] is no text", "Write it as a str")
