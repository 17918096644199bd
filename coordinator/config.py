"""The coordinator's settings from the environment: the only module of this package that reads it.

Each may come as `NAME_FILE` too (`amends.db.config`). A bad value stops the start with the variable's name and
what it may be; a secret's value is never repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from amends.coordinator.http.tokens import VARIABLE as TOKENS
from amends.coordinator.http.tokens import Tokens
from amends.db.config import Environment
from amends.db.crashpoints import CRASH_POINTS
from amends.db.errors import InvalidSetting
from amends.db.logs import LogFormat
from amends.outbox.broker import open_broker
from amends.outbox.config import seal_settings, wants_tracing
from amends.outbox.errors import UnsupportedBroker
from amends.outbox.sealing import Seal

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
    seal: Seal | None = None
    tracing: bool = False

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
    environment: Environment | None = None, *, host: str | None = None, port: int | None = None
) -> CoordinatorSettings:
    """Read and check the settings; `host` and `port` come before the environment's.

    Raises: InvalidSetting, also for an address that is open to others while there are no tokens.
    """
    env = environment or Environment.of_this_process()
    settings = CoordinatorSettings(
        database_url=_database_url(env),
        broker_url=_broker_url(env),
        prefix=_prefix(env),
        host=host or env.text("AMENDS_HTTP_HOST") or "127.0.0.1",
        port=port if port is not None else env.whole_number("AMENDS_HTTP_PORT", 8080, 0, 65_535),
        tokens=Tokens.parse(env.text(TOKENS) or ""),
        log_format=log_format(env),
        crash_at=_crash_at(env),
        seal=seal_settings(env),
        tracing=wants_tracing(env),
    )
    if not settings.tokens and not is_loopback(settings.host):
        raise InvalidSetting(
            TOKENS,
            f"is not set: without tokens the HTTP door is open to whoever reaches it, so it listens on loopback "
            f"only, not on {settings.host}; set AMENDS_TOKENS=name:role:secret,... or AMENDS_HTTP_HOST=127.0.0.1",
        )
    return settings


def command_settings(environment: Environment | None = None) -> CommandSettings:
    """Where the coordinator is and who asks. Raises: InvalidSetting."""
    env = environment or Environment.of_this_process()
    url = (env.text("AMENDS_URL") or DEFAULT_URL).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InvalidSetting("AMENDS_URL", f"must begin with http:// or https://, such as {DEFAULT_URL}")
    token = env.text("AMENDS_TOKEN")
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


def log_format(env: Environment) -> LogFormat:
    """`text` or `json`. Raises: InvalidSetting."""
    return "json" if env.choice("AMENDS_LOG_FORMAT", "text", ("text", "json")) == "json" else "text"


def _database_url(env: Environment) -> str:
    url = env.database_url("AMENDS_DATABASE_URL")
    if not url.startswith("postgresql"):
        raise InvalidSetting(
            "AMENDS_DATABASE_URL", "must name PostgreSQL: postgresql+psycopg://user:password@host/name"
        )
    return url


def _broker_url(env: Environment) -> str:
    url = env.required("AMENDS_BROKER_URL", "pyamqp://user:password@host:5672//")
    try:
        open_broker(url).close()  # Does no I/O, but knows which URLs there are.
    except UnsupportedBroker as error:
        raise InvalidSetting("AMENDS_BROKER_URL", str(error)) from None
    return url


def _prefix(env: Environment) -> str:
    prefix = env.text("AMENDS_PREFIX") or "amends"
    if not _PREFIX.fullmatch(prefix):
        raise InvalidSetting(
            "AMENDS_PREFIX", "must be up to 60 letters, digits, dots, dashes or underscores, a letter first"
        )
    return prefix


def _crash_at(env: Environment) -> str | None:
    spec = env.text("AMENDS_CRASH_AT")
    if spec is not None and spec.partition(":")[0] not in CRASH_POINTS:
        raise InvalidSetting("AMENDS_CRASH_AT", "names no crash point; it is for tests")
    return spec
