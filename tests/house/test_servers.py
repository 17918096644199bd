"""The servers of the tests are real, and each test has its own corner of them."""

from __future__ import annotations

import kombu
from sqlalchemy import Engine, inspect

from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually


def test_a_coordinator_database_has_the_coordinators_tables(coordinator_database: Engine) -> None:
    assert "saga" in inspect(coordinator_database).get_table_names(schema="amends")


def test_a_participant_database_has_the_participants_tables(
    participant_database: Engine, sqlite_database: Engine
) -> None:
    for engine in (participant_database, sqlite_database):
        assert "amends_barrier" in inspect(engine).get_table_names()


def test_the_queues_of_a_prefix_are_forgotten_after_its_test(rabbit: RabbitServer, prefix: str) -> None:
    with kombu.Connection(rabbit.url) as connection:
        channel = connection.channel()
        channel.queue_declare(
            f"{prefix}.x.do", durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
        )
        channel.exchange_declare(f"{prefix}.events", "topic", durable=True, auto_delete=False)
    eventually(lambda: rabbit.queues(f"{prefix}.") == [f"{prefix}.x.do"], what="the queue to be listed")

    rabbit.forget(f"{prefix}.")

    eventually(
        lambda: not rabbit.queues(f"{prefix}.") + rabbit.exchanges(f"{prefix}."),
        what="queue and exchange to go",
    )
