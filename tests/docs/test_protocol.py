"""docs/protocol.md is what other languages build on: its examples and tables are held against the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import msgspec
import pytest
from sqlalchemy import MetaData, Table, create_engine, text
from sqlalchemy.dialects.postgresql import dialect

from amends.db.tables.participant import barrier
from amends.outbox import limits, ports, wire
from amends.participants.calls.request import CALL_IDS, CALL_PATH
from amends.participants.events import arrivals

PAGE: Final = Path(__file__).parents[2] / "docs" / "protocol.md"
TEXT: Final = PAGE.read_text("utf-8")
ALL_EXAMPLES: Final = re.findall(r"^```json (\S+)\n(.*?)^```$", TEXT, re.M | re.S)
EXAMPLES: Final = [one for one in ALL_EXAMPLES if one[0] != wire.CLOUD_EVENT]
STRUCTS: Final = {
    wire.COMMAND: wire.Command,
    wire.REPLY: wire.Reply,
    wire.START: wire.Start,
    wire.SIGNAL: wire.Signal,
    wire.TELL: wire.Tell,
    wire.REPORT: wire.Report,
    wire.RECEIPT: wire.Receipt,
    wire.FINISHED: wire.Finished,
}


@pytest.mark.parametrize(("type_", "example"), EXAMPLES)
def test_every_example_can_be_decoded_and_has_no_field_the_wire_does_not_know(type_, example):
    body = wire.decode(type_, example.encode())

    known = {field.encode_name for field in msgspec.structs.fields(STRUCTS[type_])}
    assert json.loads(example).keys() <= known
    assert wire.decode(type_, wire.encode(body)) == body


def test_every_message_type_has_an_example():
    assert {type_ for type_, _ in EXAMPLES} == STRUCTS.keys()


def test_every_outcome_and_every_op_is_shown_in_an_example():
    bodies = [wire.decode(type_, example.encode()) for type_, example in EXAMPLES]

    outcomes = {body.outcome for body in bodies if isinstance(body, wire.Reply)}
    ops = {body.op for body in bodies if isinstance(body, wire.Command)}
    assert outcomes == set(wire.Outcome)
    assert ops == set(wire.Op)


def test_the_examples_of_one_saga_have_the_id_that_its_name_and_key_give():
    starts = [wire.decode(type_, example.encode()) for type_, example in EXAMPLES if type_ == wire.START]

    for start in starts:
        assert isinstance(start, wire.Start)
        assert start.key is not None
        assert start.saga == wire.saga_id_of(start.name, start.key)
    assert str(wire.SAGA_IDS) in TEXT


def test_the_event_of_the_page_is_one_with_the_id_that_its_place_gives():
    (example,) = [example for type_, example in ALL_EXAMPLES if type_ == wire.CLOUD_EVENT]

    event = msgspec.json.decode(example, type=wire.DomainEvent)

    assert json.loads(example).keys() <= {field.encode_name for field in msgspec.structs.fields(event)}
    assert event.id == wire.event_id_of(event.subject, event.sagapath, event.sagaop)
    assert str(wire.EVENT_IDS) in TEXT


@pytest.mark.parametrize(
    ("heading", "struct"),
    [
        ("Commands", wire.Command),
        ("Replies", wire.Reply),
        ("Starts and receipts", wire.Start),
        ("Starts and receipts", wire.Receipt),
        ("Ended sagas", wire.Finished),
        ("Domain events", wire.DomainEvent),
    ],
)
def test_the_table_of_a_message_lists_every_field_of_it(heading, struct):
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (.+?) \|", section, re.M)
    listed = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}

    assert {field.encode_name for field in msgspec.structs.fields(struct)} <= listed


def test_queues_and_headers_have_the_names_the_code_gives_them():
    names = [
        ports.command_queue("<prefix>", "<participant>", undo=False),
        ports.command_queue("<prefix>", "<participant>", undo=True),
        ports.coordinator_queue("<prefix>"),
        ports.receipts_queue("<prefix>", "<service>"),
        ports.dead_letter_queue("<prefix>"),
        ports.events_exchange("<prefix>"),
        ports.finished_queue("<prefix>", "<participant>"),
        ports.event_queue("<prefix>", "<participant>", "<subscriber>"),
        str(arrivals.HEARD_IDS),
        arrivals.HEADER_TRIES,
        arrivals.HEADER_WAITS,
        wire.HEADER_ROW,
        wire.HEADER_RECEIPT_TO,
        wire.HEADER_TRACEPARENT,
        wire.HEADER_ANSWER,
        ports.answers_queue("<prefix>", "<service>"),
    ]

    assert [name for name in names if f"`{name}`" not in TEXT] == []


def test_the_limits_are_those_of_the_code():
    section = TEXT.split("\n## Limits\n")[1].split("\n## ")[0]

    assert f"{limits.BODY_BYTES_MAX:,} bytes" in section
    assert f"| headers, together | {limits.HEADERS_BYTES_MAX // 1024} KiB |" in section
    assert f"| `path` | {wire.PATH_CHARS_MAX} characters |" in section
    assert f"| names: saga, participant, command | {wire.NAME_CHARS_MAX} characters |" in section
    assert f"| `key`, label name, label value | {wire.KEY_CHARS_MAX} characters |" in section
    assert (
        f"| labels | {wire.LABELS_MAX} that a start brings, {wire.LABELS_MAX} that a definition makes |"
        in section
    )
    assert f"| `message_id` | {limits.MESSAGE_ID_BYTES_MAX} bytes |" in section


def test_the_barrier_table_on_the_page_is_the_one_that_is_migrated(database_url):
    (ddl,) = re.findall(r"^```sql\n(CREATE TABLE amends_barrier .*?)^```$", TEXT, re.M | re.S)
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(ddl))
    reflected = Table("amends_barrier", MetaData(), autoload_with=engine)
    engine.dispose()

    def shape(table: Table) -> set[tuple[str, str, bool, bool]]:
        return {
            (column.name, column.type.compile(dialect()), bool(column.nullable), column.primary_key)
            for column in table.columns
        }

    assert shape(reflected) == shape(barrier)


def test_what_calls_say_of_their_answers_and_ids_is_told():
    section = TEXT.split("\n## Calls\n")[1].split("\n## ")[0]

    assert str(CALL_IDS) in section
    assert f"`{CALL_PATH}`" in section
    assert f"`{wire.ANSWER_OPTIONAL}`" in section
    assert f"`{wire.ANSWER_DURABLE}`" in section
