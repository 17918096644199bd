"""Structured logs: every record is a constant event name and fields, as text or as one JSON object a line.

`log.warning("publish_returned", extra={"message_id": ...})` becomes

    2026-01-31T12:00:00.123Z WARNING publish_returned message_id=... (amends.outbox.relay)
    {"at": "2026-01-31T12:00:00.123Z", "level": "warning", "event": "publish_returned", "message_id": ...}

Payloads and secrets are never among the fields: whoever logs leaves them out.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

LogFormat = Literal["text", "json"]

# What logging itself puts on a record; anything else came in through `extra`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in vars(record).items() if name not in _OWN)


def _at(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Discreet(logging.Formatter):
    """Tracebacks without the lines in which PostgreSQL repeats a row's values: they are payloads."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - The library's name.
        """The traceback, its DETAIL lines left out."""
        lines = super().formatException(ei).splitlines()
        return "\n".join(line for line in lines if not line.lstrip().startswith("DETAIL:"))


class JsonFormatter(_Discreet):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; values that JSON does not know become text."""
        entry: dict[str, object] = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        entry.update(_fields(record))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class TextFormatter(_Discreet):
    """One line a record, for eyes and grep; a traceback follows on its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; values with spaces are quoted."""
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record))
        line = f"{_at(record)} {record.levelname} {record.getMessage()}{fields} ({record.name})"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _shown(value: object) -> str:
    text = str(value)
    plain = text and not any(character.isspace() or character in '"=' for character in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def set_up_logging(log_format: LogFormat, *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send this process's logs to `stream` (default: standard error). Only entry points call this.

    Libraries that speak at INFO for every request or reconnect are held to warnings.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "kombu", "amqp", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
