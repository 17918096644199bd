"""The worker's settings: the only module of this package that reads the environment.

AMENDS_DATABASE_URL, AMENDS_BROKER_URL (both also as NAME_FILE), AMENDS_PREFIX, AMENDS_SERVICE, AMENDS_METRICS_PORT,
AMENDS_LOG_FORMAT, AMENDS_CRASH_AT. What is given on the command line comes first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from amends.db.config import Environment
from amends.db.crashpoints import CRASH_POINTS
from amends.db.errors import InvalidSetting
from amends.db.logs import LogFormat
from amends.outbox.broker import open_broker
from amends.outbox.errors import UnsupportedBroker
from amends.participants.client import Client

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantSettings:
    """What `amends participant` needs. Its text leaves out the URLs, which hold passwords."""

    database_url: str
    broker_url: str
    prefix: str
    service: str | None
    metrics_port: int | None
    log_format: LogFormat
    crash_at: str | None

    def __repr__(self) -> str:
        """Without secrets."""
        return f"ParticipantSettings(prefix={self.prefix!r}, service={self.service!r})"


def participant_settings(
    environment: Environment | None = None,
    *,
    database: str | None = None,
    broker: str | None = None,
    prefix: str | None = None,
    service: str | None = None,
    metrics_port: int | None = None,
) -> ParticipantSettings:
    """Read and check the settings. Raises: InvalidSetting, naming the variable and what it may be."""
    env = _environment(
        environment,
        {
            "AMENDS_DATABASE_URL": database,
            "AMENDS_BROKER_URL": broker,
            "AMENDS_PREFIX": prefix,
            "AMENDS_SERVICE": service,
            "AMENDS_METRICS_PORT": None if metrics_port is None else str(metrics_port),
        },
    )
    return ParticipantSettings(
        database_url=env.database_url(),
        broker_url=_broker_url(env),
        prefix=_name(env, "AMENDS_PREFIX") or "amends",
        service=_name(env, "AMENDS_SERVICE"),
        metrics_port=env.whole_number("AMENDS_METRICS_PORT", 0, 0, 65_535) or None,
        log_format="json" if env.choice("AMENDS_LOG_FORMAT", "text", ("text", "json")) == "json" else "text",
        crash_at=_crash_at(env),
    )


def client_from_environment(service: str, environment: Environment | None = None) -> Client:
    """A client as AMENDS_PREFIX, AMENDS_URL and AMENDS_TOKEN say. Raises: InvalidSetting."""
    env = environment or Environment.of_this_process()
    return Client(
        service,
        prefix=_name(env, "AMENDS_PREFIX") or "amends",
        url=env.text("AMENDS_URL"),
        token=env.text("AMENDS_TOKEN"),
    )


def _environment(environment: Environment | None, given: dict[str, str | None]) -> Environment:
    """The variables, with what was given on the command line in the place of its variable and its _FILE."""
    source = (environment or Environment.of_this_process()).values
    kept = {name: value for name, value in source.items() if given.get(name.removesuffix("_FILE")) is None}
    return Environment({**kept, **{name: value for name, value in given.items() if value is not None}})


def _broker_url(env: Environment) -> str:
    url = env.required("AMENDS_BROKER_URL", "pyamqp://user:password@host:5672//")
    try:
        open_broker(url)
    except UnsupportedBroker as error:
        raise InvalidSetting("AMENDS_BROKER_URL", str(error)) from None
    return url


def _name(env: Environment, variable: str) -> str | None:
    value = env.text(variable)
    if value is not None and not _NAME.fullmatch(value):
        raise InvalidSetting(
            variable, "must be up to 60 letters, digits, dots, dashes or underscores, a letter first"
        )
    return value


def _crash_at(env: Environment) -> str | None:
    spec = env.text("AMENDS_CRASH_AT")
    if spec is not None and spec.partition(":")[0] not in CRASH_POINTS:
        raise InvalidSetting("AMENDS_CRASH_AT", "names no crash point; it is for tests")
    return spec
