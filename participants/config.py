"""Settings from the environment: the only module of this package that reads it.

A worker needs of it what a relay does, by the same names: AMENDS_DATABASE_URL, AMENDS_BROKER_URL (both also as
NAME_FILE), AMENDS_PREFIX, AMENDS_SERVICE, AMENDS_METRICS_PORT, AMENDS_LOG_FORMAT, AMENDS_TRACING, AMENDS_CRASH_AT.
What is given on the command line comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from amends.db.config import Environment
from amends.outbox.config import RelaySettings, relay_settings, seal_settings
from amends.participants.client import Client
from amends.participants.door import Door

if TYPE_CHECKING:
    from amends.outbox.sealing import Seal

DEFAULT_URL: Final = "http://127.0.0.1:8080"

ParticipantSettings: TypeAlias = RelaySettings


def participant_settings(
    environment: Environment | None = None,
    *,
    database: str | None = None,
    broker: str | None = None,
    prefix: str | None = None,
    service: str | None = None,
    metrics_port: int | None = None,
) -> ParticipantSettings:
    """What `amends participant` needs, checked. Raises: InvalidSetting, naming the variable and what it may be."""
    return relay_settings(
        environment,
        database=database,
        broker=broker,
        prefix=prefix,
        service=service,
        metrics_port=metrics_port,
    )


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What a Celery worker needs to obey commands: `crash_at` is a crash point of the tests."""

    database_url: str
    crash_at: str | None


def task_settings(database: str | None, environment: Environment | None = None) -> TaskSettings:
    """AMENDS_DATABASE_URL, unless `database` is given. Raises: InvalidSetting, naming the variable."""
    env = environment or Environment.of_this_process()
    return TaskSettings(database or env.database_url(), env.text("AMENDS_CRASH_AT"))


def seal_from_environment(environment: Environment | None = None) -> Seal | None:
    """What AMENDS_SIGNING_KEYS, AMENDS_UNSIGNED and AMENDS_CODEC say of messages. Raises: InvalidSetting."""
    return seal_settings(environment or Environment.of_this_process())


def door_from_environment(service: str, environment: Environment | None = None) -> Door:
    """The coordinator's door as AMENDS_URL and AMENDS_TOKEN say. Raises: InvalidInput."""
    env = environment or Environment.of_this_process()
    url = env.text("AMENDS_URL") or DEFAULT_URL
    return Door(url, env.text("AMENDS_TOKEN"), service, timeout_s=30.0, retry_s=10.0)


def client_from_environment(service: str, environment: Environment | None = None) -> Client:
    """A client as AMENDS_PREFIX, AMENDS_URL and AMENDS_TOKEN say. Raises: InvalidSetting, InvalidInput."""
    env = environment or Environment.of_this_process()
    return Client(
        service,
        prefix=env.text("AMENDS_PREFIX") or "amends",
        url=env.text("AMENDS_URL"),
        token=env.text("AMENDS_TOKEN"),
    )
