"""Fixtures of the Django tests: a project on a fresh PostgreSQL or SQLite database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from amends.db.engines import open_engine
from tests.django.project import configure, databases, entry

configure()


@pytest.fixture(params=["postgresql", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, postgres: object) -> Iterator[Engine]:
    """An engine on a fresh, empty database, which is Django's `default`."""
    url = (
        f"sqlite:///{tmp_path / 'shop.sqlite'}"
        if request.param == "sqlite"
        else request.getfixturevalue("database_url")
    )
    opened = open_engine(url)
    with databases(default=entry(url)):
        yield opened
    opened.dispose()


@pytest.fixture
def migrated(engine: Engine) -> Engine:
    """The same, after `manage.py migrate`, with the service's own tables."""
    _migrate()
    return engine


@pytest.fixture
def postgresql(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh PostgreSQL database after `manage.py migrate`, which is Django's `default`."""
    opened = open_engine(database_url)
    with databases(default=entry(database_url)):
        _migrate()
        yield opened
    opened.dispose()


def _migrate(**options: Any) -> None:
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0, **options)
