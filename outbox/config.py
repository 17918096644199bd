"""The relay's settings: the only module of this package that reads the environment.

AMENDS_DATABASE_URL, AMENDS_BROKER_URL (both also as NAME_FILE), AMENDS_PREFIX, AMENDS_SERVICE, AMENDS_METRICS_PORT,
AMENDS_LOG_FORMAT, AMENDS_TRACING, AMENDS_CRASH_AT; AMENDS_SIGNING_KEYS (also as NAME_FILE), AMENDS_UNSIGNED,
AMENDS_CODEC. What is given on the command line comes first.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from amends.db.config import Environment
from amends.db.crashpoints import CRASH_POINTS
from amends.db.errors import InvalidSetting
from amends.db.logs import LogFormat
from amends.outbox.broker import open_broker
from amends.outbox.errors import InvalidSigningKeys, UnsupportedBroker
from amends.outbox.putting import TABLE

if TYPE_CHECKING:
    from amends.outbox.sealing import Codec, Seal

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,59}")
_TABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,49}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """What `amends relay` needs. Its text leaves out the URLs, which hold passwords."""

    database_url: str
    broker_url: str
    prefix: str
    service: str | None
    table: str
    metrics_port: int | None
    log_format: LogFormat
    crash_at: str | None
    seal: Seal | None = None
    tracing: bool = False

    def __repr__(self) -> str:
        """Without secrets."""
        return f"RelaySettings(prefix={self.prefix!r}, service={self.service!r}, table={self.table!r})"


def relay_settings(
    environment: Environment | None = None,
    *,
    database: str | None = None,
    broker: str | None = None,
    prefix: str | None = None,
    service: str | None = None,
    table: str = TABLE,
    metrics_port: int | None = None,
) -> RelaySettings:
    """Read and check the settings. Raises: InvalidSetting, naming the variable and what it may be."""
    given = {
        "AMENDS_DATABASE_URL": database,
        "AMENDS_BROKER_URL": broker,
        "AMENDS_PREFIX": prefix,
        "AMENDS_SERVICE": service,
        "AMENDS_METRICS_PORT": None if metrics_port is None else str(metrics_port),
    }
    source = (environment or Environment.of_this_process()).values
    overridden = {
        name: value for name, value in source.items() if given.get(name.removesuffix("_FILE")) is None
    }
    env = Environment({**overridden, **{name: value for name, value in given.items() if value is not None}})
    if _TABLE.fullmatch(table) is None:
        raise InvalidSetting("--table", "must be a table name of letters, digits and _, at most 50")
    return RelaySettings(
        database_url=env.database_url(),
        broker_url=_broker_url(env),
        prefix=_name(env, "AMENDS_PREFIX") or "amends",
        service=_name(env, "AMENDS_SERVICE"),
        table=table,
        metrics_port=env.whole_number("AMENDS_METRICS_PORT", 0, 1, 65_535) or None,
        log_format="json" if env.choice("AMENDS_LOG_FORMAT", "text", ("text", "json")) == "json" else "text",
        crash_at=_crash_at(env),
        seal=seal_settings(env),
        tracing=wants_tracing(env),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """Where messages are, for a command that looks at them. Its text leaves out the URL, which holds a password."""

    url: str
    prefix: str
    seal: Seal | None

    def __repr__(self) -> str:
        """Without secrets."""
        return f"BrokerSettings(prefix={self.prefix!r})"


def broker_settings(
    environment: Environment, *, broker: str | None = None, prefix: str | None = None
) -> BrokerSettings:
    """AMENDS_BROKER_URL and AMENDS_PREFIX, unless they are given. Raises: InvalidSetting."""
    given = {"AMENDS_BROKER_URL": broker, "AMENDS_PREFIX": prefix}
    source = {
        name: value for name, value in environment.values.items() if not given.get(name.removesuffix("_FILE"))
    }
    env = Environment({**source, **{name: value for name, value in given.items() if value}})
    url = _broker_url(env)
    if url.startswith("memory:"):
        raise InvalidSetting(
            "AMENDS_BROKER_URL", "must name RabbitMQ: a broker in memory is in its own process"
        )
    return BrokerSettings(url=url, prefix=_name(env, "AMENDS_PREFIX") or "amends", seal=seal_settings(env))


def seal_settings(env: Environment) -> Seal | None:
    """How messages are signed and coded; None if neither is asked for. Raises: InvalidSetting."""
    keys, codec = env.text("AMENDS_SIGNING_KEYS"), env.text("AMENDS_CODEC")
    unsigned = env.choice("AMENDS_UNSIGNED", "refuse", ("refuse", "accept"))
    if keys is None and codec is None:
        return None
    from amends.outbox.sealing import Seal, SigningKeys

    try:
        parsed = None if keys is None else SigningKeys.parse(keys)
    except InvalidSigningKeys as error:
        raise InvalidSetting("AMENDS_SIGNING_KEYS", f"must be ID=BASE64,ID=BASE64...: {error}") from None
    return Seal(keys=parsed, codec=_codec(codec), accept_unsigned=unsigned == "accept")


def _codec(reference: str | None) -> Codec | None:
    """The object that `module:object` names; the current directory may be imported from."""
    if reference is None:
        return None
    module, colon, name = reference.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError) as error:
        raise InvalidSetting("AMENDS_CODEC", f"cannot be loaded: {error}") from None
    if not all(hasattr(found, needed) for needed in ("name", "decodes", "encode", "decode")):
        raise InvalidSetting(
            "AMENDS_CODEC", "must be module:object of a codec, with name, decodes, encode and decode"
        )
    return cast("Codec", found)


def wants_tracing(env: Environment) -> bool:
    """Whether AMENDS_TRACING says `opentelemetry`. Raises: InvalidSetting."""
    return env.choice("AMENDS_TRACING", "off", ("off", "opentelemetry")) == "opentelemetry"


def _broker_url(env: Environment) -> str:
    value = env.required("AMENDS_BROKER_URL", "pyamqp://user:password@host:5672//")
    try:
        open_broker(value).close()
    except UnsupportedBroker as error:
        raise InvalidSetting("AMENDS_BROKER_URL", str(error)) from None
    return value


def _name(env: Environment, variable: str) -> str | None:
    value = env.text(variable)
    if value is not None and _NAME.fullmatch(value) is None:
        raise InvalidSetting(
            variable, "must begin with a letter; letters, digits, . _ - follow, at most 60 in all"
        )
    return value


def _crash_at(env: Environment) -> str | None:
    value = env.text("AMENDS_CRASH_AT")
    if value is not None and value.partition(":")[0] not in CRASH_POINTS:
        raise InvalidSetting("AMENDS_CRASH_AT", f"must be one of {', '.join(CRASH_POINTS)}")
    return value
