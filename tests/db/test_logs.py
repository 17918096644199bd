"""Logs name what happened, and never what was in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from amends.db.engines import open_engine
from amends.db.logs import LogFormat, set_up_logging


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("format_", ["text", "json"])
def test_a_traceback_does_not_repeat_a_rows_values(
    database_url: str, restored: None, format_: LogFormat
) -> None:
    """PostgreSQL's DETAIL holds them, bind parameters or not. Guard: `formatException` in db/logs.py."""
    stream = io.StringIO()
    set_up_logging(format_, stream=stream)
    engine: Engine = open_engine(database_url)
    number = "-".join(["4111"] * 2)  # Not as it stands here: a traceback shows lines of source.

    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE card (no text PRIMARY KEY)"))
            connection.execute(text("INSERT INTO card VALUES (:no), (:no)"), {"no": number})
    except Exception:
        logging.getLogger("shop").exception("charge_failed")
    engine.dispose()

    written = stream.getvalue()
    assert "UniqueViolation" in written
    assert number not in written
    if format_ == "json":
        assert json.loads(written)["event"] == "charge_failed"
