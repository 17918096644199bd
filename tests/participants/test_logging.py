"""Saga, path, op, attempt and trace on every log record of the service while a handler runs."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator

import pytest

from amends.db.logs import JsonFormatter
from amends.participants import CommandFields, Participant
from amends.participants.logging import FIELDS, CommandScope, command_scope, fields_on_every_record, trace_id
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import command

SCOPE = CommandScope("saga-1", "reserve/3", "do", 2, "00-4bf9-00f0-01")
FORMAT = "%(message)s " + " ".join(f"%({field})s" for field in FIELDS)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def service(stream: io.StringIO) -> Iterator[logging.Logger]:
    """A service's own logger and handler, with the filter."""
    logger = logging.getLogger("a.service")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(CommandFields())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger
    logger.removeHandler(handler)


def test_a_record_tells_which_command_it_is_about(service: logging.Logger, stream: io.StringIO) -> None:
    with command_scope(SCOPE):
        service.info("inside")
    service.info("outside")

    assert stream.getvalue().splitlines() == ["inside saga-1 reserve/3 do 2 4bf9", "outside     "]


def test_what_a_record_says_itself_is_kept(service: logging.Logger, stream: io.StringIO) -> None:
    with command_scope(SCOPE):
        service.info("about", extra={"saga": "another"})

    assert stream.getvalue() == "about another reserve/3 do 2 4bf9\n"


def test_tasks_of_a_handler_tell_its_command(service: logging.Logger, stream: io.StringIO) -> None:
    async def task() -> None:
        await asyncio.sleep(0)
        service.info("task")

    async def handler() -> None:
        await asyncio.gather(task(), task())

    with command_scope(SCOPE):
        asyncio.run(handler())

    assert stream.getvalue().splitlines() == ["task saga-1 reserve/3 do 2 4bf9"] * 2


def test_a_worker_program_adds_the_fields_to_every_handler_and_takes_them_away(
    service: logging.Logger, stream: io.StringIO
) -> None:
    service.handlers[0].filters.clear()
    service.handlers[0].setFormatter(JsonFormatter())

    with fields_on_every_record(), command_scope(SCOPE):
        service.info("inside")
    with command_scope(SCOPE):
        service.info("after")

    inside, after = stream.getvalue().splitlines()
    assert '"saga": "saga-1"' in inside
    assert "saga" not in after


def test_in_amends_own_format_nothing_empty_is_shown_while_no_handler_runs(
    service: logging.Logger, stream: io.StringIO
) -> None:
    service.handlers[0].filters.clear()
    service.handlers[0].setFormatter(JsonFormatter())

    with fields_on_every_record():
        service.info("outside")

    assert "saga" not in stream.getvalue()


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_running_handler_is_told_of_in_its_records(
    service: logging.Logger,
    stream: io.StringIO,
    start_worker: StartWorker,
    coordinator_of: CoordinatorOf,
    kind: str,
) -> None:
    coordinator = coordinator_of("one")
    participant = Participant("one")

    def plain(cmd: int) -> None:
        service.info("working")

    async def in_a_loop(cmd: int) -> None:
        await asyncio.sleep(0)
        service.info("working")

    participant.command(name="work")(plain if kind == "plain" else in_a_loop)
    start_worker(participant, threads=1)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    for attempt in (1, 2):
        sent = command("work", 1, path="step/1", attempt=attempt)
        coordinator.send(sent, headers={"traceparent": trace})
        coordinator.await_reply(lambda reply, saga=sent.saga: reply.saga == saga)  # type: ignore[misc]
        last = stream.getvalue().splitlines()[-1]
        assert last == f"working {sent.saga} step/1 do {attempt} 4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(("traceparent", "trace"), [("00-abc-def-01", "abc"), ("", ""), ("garbage", "")])
def test_a_trace_id_is_read_from_a_traceparent(traceparent: str, trace: str) -> None:
    assert trace_id(traceparent) == trace
