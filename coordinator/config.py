"""The coordinator's settings from the environment: the only module of this package that reads it.

Secrets may come as `NAME_FILE`, the path of a file that holds the value. A bad value stops the start with the
variable's name and what it may be; a secret's value is never repeated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from amends.coordinator.errors import InvalidSetting
from amends.coordinator.http.tokens import Tokens
from amends.coordinator.logs import LogFormat
from amends.db.crashpoints import CRASH_POINTS

DEFAULT_URL: Final = "http://127.0.0.1:8080"
_PREFIX: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings:
    """What `amends coordinator` needs. Built by `coordinator_settings`; secrets stay out of its text."""

    database_url: str
    broker_url: str
    prefix: str
    host: str
    port: int
    tokens: Tokens
    log_format: LogFormat
    crash_at: str | None

    def __repr__(self) -> str:
        """Without the URLs, which hold passwords."""
        return f"CoordinatorSettings(prefix={self.prefix!r}, host={self.host!r}, port={self.port})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """What the commands need to speak with a coordinator over HTTP."""

    url: str
    token: str | None

    def __repr__(self) -> str:
        """Without the token."""
        return f"CommandSettings(url={self.url!r})"


def coordinator_settings(
    environ: Mapping[str, str] | None = None, *, host: str | None = None, port: int | None = None
) -> CoordinatorSettings:
    """Read and check the settings; `host` and `port` come before the environment's.

    Raises: InvalidSetting, also for an address that is open to others while there are no tokens.
    """
    source = os.environ if environ is None else environ
    settings = CoordinatorSettings(
        database_url=_database_url(source),
        broker_url=_required(source, "AMENDS_BROKER_URL", "pyamqp://user:password@host:5672//"),
        prefix=_prefix(source),
        host=host or _text(source, "AMENDS_HTTP_HOST") or "127.0.0.1",
        port=port if port is not None else _port(source),
        tokens=Tokens.parse(_text(source, "AMENDS_TOKENS") or ""),
        log_format=_log_format(source),
        crash_at=_crash_at(source),
    )
    if not settings.tokens and not is_loopback(settings.host):
        raise InvalidSetting(
            "AMENDS_TOKENS",
            f"without tokens the HTTP door is open to whoever reaches it, so it listens on loopback only, "
            f"not on {settings.host}; set AMENDS_TOKENS=name:role:secret,... or AMENDS_HTTP_HOST=127.0.0.1",
        )
    return settings


def command_settings(environ: Mapping[str, str] | None = None) -> CommandSettings:
    """Where the coordinator is and who asks. Raises: InvalidSetting."""
    source = os.environ if environ is None else environ
    url = (_text(source, "AMENDS_URL") or DEFAULT_URL).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InvalidSetting("AMENDS_URL", f"must begin with http:// or https://, such as {DEFAULT_URL}")
    token = _text(source, "AMENDS_TOKEN")
    if token is not None and not token.isascii():
        raise InvalidSetting("AMENDS_TOKEN", "must be ASCII")
    return CommandSettings(url=url, token=token)


def is_loopback(host: str) -> bool:
    """Only this machine can reach this address. A name other than `localhost` might resolve to anything."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _text(source: Mapping[str, str], name: str) -> str | None:
    """The variable, or the contents of the file that `NAME_FILE` names; None if neither is set, or empty."""
    value, path = source.get(name, ""), source.get(f"{name}_FILE", "")
    if value and path:
        raise InvalidSetting(name, f"{name} and {name}_FILE are both set; keep one")
    if path:
        try:
            value = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InvalidSetting(f"{name}_FILE", f"cannot read {path}: {why}") from None
        if not value:
            raise InvalidSetting(f"{name}_FILE", f"{path} is empty")
    return value.strip() or None


def _required(source: Mapping[str, str], name: str, example: str) -> str:
    value = _text(source, name)
    if value is None:
        raise InvalidSetting(name, f"is not set; set it (or {name}_FILE) to something like {example}")
    return value


def _database_url(source: Mapping[str, str]) -> str:
    name = "AMENDS_DATABASE_URL"
    url = _required(source, name, "postgresql+psycopg://user:password@host/amends")
    for scheme in ("postgresql+psycopg://", "postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    raise InvalidSetting(name, "the coordinator's database is PostgreSQL: begin with postgresql+psycopg://")


def _prefix(source: Mapping[str, str]) -> str:
    prefix = _text(source, "AMENDS_PREFIX") or "amends"
    if not _PREFIX.fullmatch(prefix):
        raise InvalidSetting(
            "AMENDS_PREFIX",
            "is up to 60 letters, digits, dots, dashes or underscores, a letter first",
        )
    return prefix


def _port(source: Mapping[str, str]) -> int:
    text = _text(source, "AMENDS_HTTP_PORT") or "8080"
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise InvalidSetting(
            "AMENDS_HTTP_PORT", f"must be a port, 0 to 65535 (0: any free one), not {text!r}"
        )
    return int(text)


def _log_format(source: Mapping[str, str]) -> LogFormat:
    match _text(source, "AMENDS_LOG_FORMAT") or "text":
        case "text":
            return "text"
        case "json":
            return "json"
        case other:
            raise InvalidSetting("AMENDS_LOG_FORMAT", f"must be text or json, not {other!r}")


def _crash_at(source: Mapping[str, str]) -> str | None:
    spec = _text(source, "AMENDS_CRASH_AT")
    if spec is not None and spec.partition(":")[0] not in CRASH_POINTS:
        raise InvalidSetting("AMENDS_CRASH_AT", f"is for tests; no crash point {spec!r}")
    return spec
