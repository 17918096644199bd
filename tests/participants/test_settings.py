"""A worker's settings: what cannot work is told at the start, by name."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from amends.db.config import Environment
from amends.db.errors import InvalidSetting, SchemaOutdated, UnsupportedDatabase
from amends.outbox.errors import UnsupportedBroker
from amends.participants import Participant
from amends.participants.config import client_from_environment, participant_settings
from amends.participants.errors import NotLoadable
from amends.participants.loading import load_participant
from amends.participants.worker.settings import WorkerSettings

GOOD = {"AMENDS_DATABASE_URL": "sqlite:///x", "AMENDS_BROKER_URL": "memory://x"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("threads", 0),
        ("undo_threads", 0),
        ("processes", -1),
        ("prefetch", 0),
        ("time_limit_s", 0),
        ("lock_timeout_s", -1),
        ("grace_s", -1),
        ("retention_s", 3_600),
    ],
)
def test_a_number_that_cannot_work_is_named(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=setting):
        WorkerSettings(**{setting: value})  # type: ignore[arg-type]


def test_prefetch_times_time_limit_stays_under_the_brokers_patience() -> None:
    """B8."""
    WorkerSettings(prefetch=9, time_limit_s=60)

    with pytest.raises(ValueError, match="prefetch 10 times time_limit_s 60"):
        WorkerSettings(prefetch=10, time_limit_s=60)


def test_a_lease_is_longer_than_a_call_may_take() -> None:
    """B5."""
    settings = WorkerSettings(time_limit_s=45)

    assert settings.lease_s > settings.time_limit_s


def worker_on(database: object, broker: object = "memory://x") -> None:
    Participant("p").worker(database=database, broker=broker)  # type: ignore[arg-type]


def test_a_database_or_broker_it_cannot_use_is_told_at_once() -> None:
    with pytest.raises(UnsupportedDatabase):
        worker_on("oracle://host/x")
    other = create_engine("mysql+pymysql://host/x", module=FakeDriver)
    other.dialect.name = "oracle"
    with pytest.raises(UnsupportedDatabase, match="PostgreSQL, MySQL, MariaDB and SQLite"):
        worker_on(other)
    with pytest.raises(UnsupportedBroker):
        worker_on("sqlite:///x", "kafka://host")
    with pytest.raises(UnsupportedDatabase, match="not an async one"):
        worker_on(create_async_engine("postgresql+psycopg://host/x"))


def test_several_processes_on_an_in_process_broker_are_refused() -> None:
    with pytest.raises(ValueError, match="memory://"):
        Participant("p").worker(database="sqlite:///x", broker="memory://x", processes=2)


def test_a_sqlite_engine_that_begins_too_late_is_refused(sqlite_database: Engine) -> None:
    """Seen to fail without the check of `in_transaction`."""
    late = create_engine(sqlite_database.url)
    worker = Participant("p").worker(database=late, broker="memory://x")

    with pytest.raises(UnsupportedDatabase, match="open_engine"):
        worker.start()
    late.dispose()


class FakeDriver:
    """Enough of a driver for an engine that never connects."""

    paramstyle = "format"
    __version__ = "1.0.0"
    __name__ = "pymysql"


def test_a_database_without_the_tables_is_told_with_the_command(database_url: str) -> None:
    worker = Participant("p").worker(database=database_url, broker="memory://x")

    with pytest.raises(SchemaOutdated, match="amends migrate --participant"):
        worker.start()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AMENDS_DATABASE_URL", ""),
        ("AMENDS_DATABASE_URL", "oracle://host/x"),
        ("AMENDS_BROKER_URL", ""),
        ("AMENDS_BROKER_URL", "kafka://host"),
        ("AMENDS_PREFIX", "a b"),
        ("AMENDS_SERVICE", "1"),
        ("AMENDS_METRICS_PORT", "http"),
        ("AMENDS_METRICS_PORT", "70000"),
        ("AMENDS_LOG_FORMAT", "xml"),
        ("AMENDS_CRASH_AT", "nowhere"),
    ],
)
def test_a_bad_variable_stops_the_start_with_its_name(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=variable):
        participant_settings(Environment({**GOOD, variable: value}))


def test_what_is_given_on_the_command_line_comes_first() -> None:
    environment = Environment({**GOOD, "AMENDS_PREFIX": "theirs", "AMENDS_METRICS_PORT": "9100"})

    settings = participant_settings(environment, prefix="ours", database="sqlite:///y")

    assert (settings.prefix, settings.database_url, settings.metrics_port) == ("ours", "sqlite:///y", 9100)


def test_secrets_stay_out_of_the_settings_text() -> None:
    settings = participant_settings(
        Environment({**GOOD, "AMENDS_DATABASE_URL": "postgresql://user:hunter2@host/x"})
    )

    assert "hunter2" not in repr(settings)
    assert "hunter2" in settings.database_url


def test_a_client_is_made_from_the_environment() -> None:
    client = client_from_environment("shop", Environment({"AMENDS_PREFIX": "p", "AMENDS_URL": "http://c:1"}))

    assert (client.service, client.prefix) == ("shop", "p")


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("programs", "module:object"),
        ("no.such.module:x", "there is no module 'no'"),
        ("tests.participants.programs:nothing", "its participants: counter"),
        ("tests.participants.programs:log", "its participants: counter"),
        ("tests.waiting:eventually", "tests.waiting has none"),
    ],
)
def test_what_is_no_participant_is_told_with_what_there_is(reference: str, says: str) -> None:
    with pytest.raises(NotLoadable, match=says):
        load_participant(reference)


def test_a_participant_is_loaded_by_module_and_name() -> None:
    assert load_participant("tests.participants.programs:counter").name == "counter"
