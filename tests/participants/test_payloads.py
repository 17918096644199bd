"""Payloads of every declared kind, and where they say a wrong one is wrong."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from amends.participants.errors import InvalidHandler, InvalidPayload
from amends.participants.payloads import PayloadReader, encode


class StructLine(msgspec.Struct, frozen=True):
    sku: str
    quantity: int


class StructOrder(msgspec.Struct, frozen=True):
    card: str
    lines: list[StructLine] = []


@dataclass(frozen=True)
class DataLine:
    sku: str
    quantity: int


@dataclass(frozen=True)
class DataOrder:
    card: str
    lines: tuple[DataLine, ...] = ()


class ModelLine(pydantic.BaseModel):
    sku: str
    quantity: int


class ModelOrder(pydantic.BaseModel):
    card: str
    lines: list[ModelLine] = []


class DictLine(TypedDict):
    sku: str
    quantity: int


class DictOrder(TypedDict):
    card: str
    lines: list[DictLine]


KINDS = [StructOrder, DataOrder, ModelOrder, DictOrder]
ORDER = b'{"card":"visa","lines":[{"sku":"tea","quantity":2}]}'


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_and_written_as_the_same_json(kind: type) -> None:
    value = PayloadReader(kind).read(ORDER)

    assert msgspec.json.decode(encode(value)) == msgspec.json.decode(ORDER)
    assert isinstance(value, dict if kind is DictOrder else kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (b'{"lines":[]}', "card"),
        (b'{"card":7,"lines":[]}', "card"),
        (b'{"card":"visa","lines":[{"sku":"tea","quantity":"two"}]}', "lines"),
        (b'{"card":"visa","lines":[{"sku":"tea"}]}', "quantity"),
    ],
)
def test_every_kind_says_where_a_payload_is_wrong(kind: type, payload: bytes, path: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        PayloadReader(kind).read(payload)

    assert path in caught.value.path
    assert caught.value.path in str(caught.value)


def test_a_place_is_told_as_a_path() -> None:
    with pytest.raises(InvalidPayload) as caught:
        PayloadReader(StructOrder).read(b'{"card":"visa","lines":[{"sku":"tea","quantity":"two"}]}')

    assert str(caught.value) == "lines[0].quantity: expected `int`, got `str`"


def test_what_is_wrong_is_told_without_the_value() -> None:
    for kind in KINDS:
        with pytest.raises(InvalidPayload) as caught:
            PayloadReader(kind).read(b'{"card":["4111 1111 1111 1111"],"lines":[]}')

        assert "4111" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused_by_every_kind(kind: type, payload: bytes) -> None:
    with pytest.raises(InvalidPayload):
        PayloadReader(kind).read(payload)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_are_ignored(kind: type) -> None:
    PayloadReader(kind).read(ORDER[:-1] + b',"more":1}')


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("declared", "payload", "value"),
    [
        (int, b"7", 7),
        (str, b'"tea"', "tea"),
        (dict, b'{"a":1}', {"a": 1}),
        (dict[str, Any], b'{"a":[1]}', {"a": [1]}),
        (Any, b"[1,2]", [1, 2]),
        (None, b"null", None),
        (int | None, b"null", None),
        (UUID, b'"12345678-1234-5678-1234-567812345678"', UUID("12345678-1234-5678-1234-567812345678")),
        (Decimal, b'"1.50"', Decimal("1.50")),
        (datetime, b'"2026-01-31T12:00:00Z"', datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (Colour, b'"red"', Colour.RED),
        (list[ModelLine], b'[{"sku":"tea","quantity":2}]', [ModelLine(sku="tea", quantity=2)]),
        (ModelLine | None, b"null", None),
    ],
)
def test_whatever_they_are_made_of_is_read(declared: Any, payload: bytes, value: object) -> None:
    assert PayloadReader(declared).read(payload) == value


class Opaque:
    """Nothing JSON could be read into."""


def test_a_type_that_cannot_be_read_from_json_is_refused_when_it_is_declared() -> None:
    with pytest.raises(InvalidHandler, match="declare a msgspec Struct"):
        PayloadReader(Opaque)


def test_a_value_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="Opaque cannot be written as JSON"):
        encode(Opaque())
