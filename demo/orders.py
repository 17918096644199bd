"""The orders to run: read from a file of one JSON object a line, checked, and made as many as wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import count, islice
from pathlib import Path
from typing import Final

import msgspec

from amends.demo.errors import BadOrders
from amends.demo.shop import sandbox
from amends.demo.shop.definition import Order

LINE_BYTES_MAX: Final = 100_000

_decoder = msgspec.json.Decoder(Order)


def own_orders() -> list[Order]:
    """The 1,000 orders that come with the demo."""
    return parse((files("amends.demo") / "orders.jsonl").read_bytes(), "orders.jsonl")


def read_orders(path: Path) -> list[Order]:
    """The orders of a file. Raises: BadOrders."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadOrders(str(path), 0, "", f"cannot be read: {error.strerror}") from error
    return parse(content, str(path))


def parse(content: bytes, file: str) -> list[Order]:
    """The orders in this content; empty lines do not count. Raises: BadOrders, for the first line that is wrong."""
    orders: list[Order] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        order = _order(line, file, number)
        if order.number in line_of:
            raise BadOrders(
                file, number, "number", f"{order.number!r} is also on line {line_of[order.number]}"
            )
        line_of[order.number] = number
        orders.append(order)
    if not orders:
        raise BadOrders(file, 0, "", "holds no orders; it should hold one JSON object a line")
    return orders


def _order(line: bytes, file: str, number: int) -> Order:
    if len(line) > LINE_BYTES_MAX:
        raise BadOrders(
            file, number, "", f"{len(line):,} bytes are more than the {LINE_BYTES_MAX:,} an order may have"
        )
    try:
        order = _decoder.decode(line)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        raise BadOrders(file, number, place.rstrip("`").lstrip("."), problem) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadOrders(file, number, "", f"no JSON object: {error}") from error
    total = sum(one.quantity * one.price_cents for one in order.lines)
    if order.total_cents != total:
        raise BadOrders(file, number, "total_cents", f"is {order.total_cents}, but the lines come to {total}")
    return order


def supply(orders: Sequence[Order], wanted: int | None, *, faults: bool) -> list[Order]:
    """`wanted` orders (None: as many as there are): from the start, round and round, each number once.

    Without `faults`, orders that would meet trouble on purpose are made ordinary.
    """
    several = list(islice(_rounds(orders), len(orders) if wanted is None else wanted))
    return several if faults else [plain(order) for order in several]


def plain(order: Order) -> Order:
    """The same order with an ordinary card and town, and without what is limited or hangs."""
    replace = msgspec.structs.replace
    card, address = order.card, order.address
    for trouble in sandbox.TROUBLED_CARDS:
        if card.startswith(trouble):
            card = sandbox.ORDINARY + card.removeprefix(trouble)
    if address.city in sandbox.TROUBLED_TOWNS or address.postcode == sandbox.UNSERVED_POSTCODE:
        address = replace(address, postcode="10115", city="Aldermere")
    skus = [
        line.sku.replace(sandbox.ARCHIVE, "PRINT-").replace(sandbox.LIMITED, "PEN-") for line in order.lines
    ]
    lines = [replace(line, sku=sku) for line, sku in zip(order.lines, skus, strict=True)]
    return replace(order, card=card, address=address, lines=lines)


def _rounds(orders: Sequence[Order]) -> Iterator[Order]:
    numbers = {order.number for order in orders}
    yield from orders
    for turn in count(2):
        for order in orders:
            number = f"{order.number}.{turn}"
            while number in numbers:
                number += "'"
            numbers.add(number)
            yield msgspec.structs.replace(order, number=number)
