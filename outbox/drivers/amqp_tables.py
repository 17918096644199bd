"""AMQP tables (message headers) as plain values. Read, nothing in them raises: what cannot be told becomes None."""

from __future__ import annotations

from struct import pack, unpack_from
from typing import Final

from amends.outbox.message import HeaderValue

Value = str | bytes | int | float | bool | None | list["Value"] | dict[str, "Value"]

DEPTH_MAX: Final = 8

# RabbitMQ's letters, which differ from the specification's: https://www.rabbitmq.com/docs/amqp-0-9-1-errata
_NUMBERS: Final[dict[int, tuple[str, int]]] = {
    ord("b"): (">b", 1),
    ord("B"): (">B", 1),
    ord("s"): (">h", 2),
    ord("u"): (">H", 2),
    ord("I"): (">i", 4),
    ord("i"): (">I", 4),
    ord("l"): (">q", 8),
    ord("L"): (">q", 8),
    ord("f"): (">f", 4),
    ord("d"): (">d", 8),
    ord("T"): (">Q", 8),  # seconds since 1970, left a number: any 64 bits may be in it
}
_TRUTH, _VOID, _DECIMAL, _STRING, _BYTES, _ARRAY, _TABLE = (ord(letter) for letter in "tVDSxAF")


def value_bytes(value: HeaderValue) -> bytes:
    """A value as it stands in a table: of the types that py-amqp would give it, with which its readers are content."""
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return pack(">cI", b"S", len(text)) + text
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return pack(">ci", b"I", value)
        if -(2**63) <= value < 2**63:
            return pack(">cq", b"l", value)
        raise TypeError(f"a header cannot be {value:,}: it does not fit into 64 bits")
    if isinstance(value, float):
        return pack(">cd", b"d", value)
    if value is None:
        return b"V"
    if isinstance(value, list):
        items = b"".join(value_bytes(item) for item in value)
        return pack(">cI", b"A", len(items)) + items
    if isinstance(value, dict):
        fields = b"".join(_name(name) + value_bytes(item) for name, item in value.items())
        return pack(">cI", b"F", len(fields)) + fields
    raise TypeError(f"a header cannot be of the type {type(value).__name__}")


def _name(name: str) -> bytes:
    encoded = name.encode("utf-8", "surrogatepass")
    if len(encoded) > 255:
        raise TypeError(f"a name in a header has {len(encoded):,} bytes; AMQP allows 255")
    return bytes((len(encoded),)) + encoded


def read_table(payload: bytes, at: int, depth: int = 0) -> tuple[dict[str, Value], int]:
    """The table that starts at `at`, and where it ends. A table deeper than DEPTH_MAX is left empty."""
    (size,) = unpack_from(">I", payload, at)
    at += 4
    end = at + size
    table: dict[str, Value] = {}
    while at < end and depth < DEPTH_MAX:
        start = at + 1
        at = start + payload[at]
        name = str(payload[start:at], "utf-8", "replace")
        table[name], at = _read_value(payload, at, end, depth)
    return table, end


def _read_value(payload: bytes, at: int, end: int, depth: int) -> tuple[Value, int]:
    kind = payload[at]
    at += 1
    if kind in (_STRING, _BYTES):
        (size,) = unpack_from(">I", payload, at)
        at += 4
        raw = payload[at : at + size]
        return (raw if kind == _BYTES else str(raw, "utf-8", "replace")), at + size
    number = _NUMBERS.get(kind)
    if number is not None:
        layout, size = number
        return unpack_from(layout, payload, at)[0], at + size
    if kind == _TRUTH:
        return payload[at] != 0, at + 1
    if kind == _VOID:
        return None, at
    if kind == _TABLE:
        return read_table(payload, at, depth + 1)
    if kind == _ARRAY:
        return _read_array(payload, at, depth + 1)
    if kind == _DECIMAL:
        scale, unscaled = unpack_from(">Bi", payload, at)
        return unscaled / 10**scale, at + 5
    return None, end  # A letter of another broker's: its size is unknown, so the rest of this table is, too.


def _read_array(payload: bytes, at: int, depth: int) -> tuple[list[Value], int]:
    (size,) = unpack_from(">I", payload, at)
    at += 4
    end = at + size
    array: list[Value] = []
    while at < end and depth < DEPTH_MAX:
        value, at = _read_value(payload, at, end, depth)
        array.append(value)
    return array, end
