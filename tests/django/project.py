"""A Django project whose databases the tests choose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import django
from django.conf import settings
from django.db import connections
from sqlalchemy import make_url

PASSWORD: Final = "of-the-tests"
AMENDS: Final = {"SERVICE": "shop"}
_MEMORY: Final = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


def configure() -> None:
    """Once in a process."""
    if settings.configured:
        return
    settings.configure(
        AMENDS=AMENDS,
        DATABASES={"default": _MEMORY},
        DATABASE_ROUTERS=[],
        USE_TZ=True,
        SECRET_KEY="of the tests",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF="tests.django.urls",
        ALLOWED_HOSTS=["testserver"],
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.admin",
            "tests.django.shop",
            "amends.participants.django",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
    )
    django.setup()


@contextmanager
def databases(**by_alias: dict[str, Any]) -> Iterator[None]:
    """Let DATABASES be these."""
    from amends.participants.django.settings import amends_settings

    def become(chosen: dict[str, Any] | None) -> None:
        connections.close_all()
        for alias in list(connections):
            if hasattr(connections._connections, alias):
                del connections[alias]
        amends_settings.cache_clear()
        connections.settings = connections.configure_settings(chosen)

    become({"default": dict(_MEMORY), **by_alias})
    try:
        yield
    finally:
        become({"default": dict(_MEMORY)})


def entry(url: str) -> dict[str, Any]:
    """A database's entry in DATABASES."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parsed.database}
    query = {name: value for name, value in parsed.query.items() if name != "host"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parsed.database,
        "USER": parsed.username or "",
        "PASSWORD": parsed.password or "",
        "HOST": parsed.host or parsed.query.get("host", ""),
        "PORT": parsed.port or "",
        "OPTIONS": query,
    }
