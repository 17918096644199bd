"""The orders: the file that comes with the demo, and what is said of files that are wrong."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from amends.demo import generate
from amends.demo.errors import BadOrders
from amends.demo.orders import LINE_BYTES_MAX, own_orders, parse, plain, read_orders, supply
from amends.demo.shop import sandbox
from amends.demo.shop.definition import Order


@pytest.fixture(scope="module")
def orders() -> list[Order]:
    return own_orders()


def changed(order: Order, **fields: object) -> bytes:
    """The order's line with some fields replaced, or taken out where they are None."""
    line = msgspec.json.decode(msgspec.json.encode(order)) | fields
    return msgspec.json.encode({name: value for name, value in line.items() if value is not None})


def test_the_file_that_ships_is_what_its_generator_writes() -> None:
    shipped = (files("amends.demo") / "orders.jsonl").read_bytes()

    assert shipped == b"".join(msgspec.json.encode(order) + b"\n" for order in generate.orders())


def test_the_orders_are_a_thousand_and_varied(orders: list[Order]) -> None:
    assert len(orders) == 1_000
    assert len({order.customer.name for order in orders}) > 400
    assert len({order.address.city for order in orders}) > 15
    assert len({line.sku for order in orders for line in order.lines}) > 60
    assert {len(order.lines) for order in orders} >= {1, 2, 3, 4, 5}
    assert any(not order.customer.name.isascii() for order in orders)


def test_it_is_plain_that_the_data_is_test_data(orders: list[Order]) -> None:
    assert all(order.customer.email.endswith("@example.com") for order in orders)
    assert all(order.card.startswith("tok_test_") for order in orders)


def test_every_kind_of_trouble_is_in_the_file(orders: list[Order]) -> None:
    cards = Counter(
        card for order in orders for card in sandbox.TROUBLED_CARDS if order.card.startswith(card)
    )
    towns = Counter(order.address.city for order in orders)
    skus = Counter(line.sku[:4] for order in orders for line in order.lines)

    assert set(cards) == set(sandbox.TROUBLED_CARDS)
    assert towns[sandbox.STORM_TOWN] > 20
    assert towns[sandbox.SILENT_TOWN] > 2
    assert sum(order.address.postcode == sandbox.UNSERVED_POSTCODE for order in orders) > 20
    assert skus[sandbox.LIMITED] > 50
    assert skus[sandbox.ARCHIVE] > 2


def test_what_hangs_is_spread_so_that_no_breaker_opens_and_the_end_is_not_delayed(
    orders: list[Order],
) -> None:
    hanging = [place for place, order in enumerate(orders, start=1) if hangs(order)]

    assert len(hanging) < 25
    assert max(hanging) < 950


def hangs(order: Order) -> bool:
    silent = (sandbox.SILENT, sandbox.LATE, sandbox.SLOW_REFUND)
    archive = any(line.sku.startswith(sandbox.ARCHIVE) for line in order.lines)
    return order.card.startswith(silent) or order.address.city == sandbox.SILENT_TOWN or archive


def test_without_faults_no_order_meets_trouble(orders: list[Order]) -> None:
    for order in supply(orders, None, faults=False):
        assert order.card.startswith(sandbox.ORDINARY)
        assert order.address.city not in sandbox.TROUBLED_TOWNS
        assert order.address.postcode != sandbox.UNSERVED_POSTCODE
        assert not any(line.sku.startswith((sandbox.LIMITED, sandbox.ARCHIVE)) for line in order.lines)


def test_an_order_made_plain_is_the_same_order_but_for_its_trouble(orders: list[Order]) -> None:
    for order in orders:
        ordinary = plain(order)

        assert (ordinary.number, ordinary.total_cents) == (order.number, order.total_cents)
        assert len(ordinary.lines) == len(order.lines)


@pytest.mark.parametrize("wanted", [1, 999, 1_000, 1_001, 2_500])
def test_as_many_orders_as_wanted_come_each_with_a_number_of_its_own(
    orders: list[Order], wanted: int
) -> None:
    several = supply(orders, wanted, faults=True)

    assert len(several) == wanted
    assert len({order.number for order in several}) == wanted


def test_a_number_that_looks_like_a_repeated_one_stays_the_only_one_of_its_name(orders: list[Order]) -> None:
    first = orders[0]
    second = msgspec.structs.replace(orders[1], number=f"{first.number}.2")

    numbers = [order.number for order in supply([first, second], 4, faults=True)]

    assert numbers[:3] == [first.number, f"{first.number}.2", f"{first.number}.2'"]
    assert len(set(numbers)) == 4


@pytest.mark.parametrize(
    ("wrong", "field", "problem"),
    [
        (b"{", "", "no JSON object"),
        (b"\xff\xfe{}", "", "no JSON object"),
        (b"[]", "", "Expected `object`, got `array`"),
        (b'{"number": "' + b"x" * LINE_BYTES_MAX + b'"}', "", "bytes are more than"),
        ({"card": None}, "", "missing required field `card`"),
        ({"card": 17}, "card", "Expected `str`, got `int`"),
        ({"number": ""}, "number", "length >= 1"),
        ({"lines": []}, "lines", "length >= 1"),
        ({"total_cents": 1}, "total_cents", "but the lines come to"),
        (
            {"lines": [{"sku": "INK-01", "title": "Ink", "quantity": 0, "price_cents": 5}]},
            "lines[0].quantity",
            "Expected `int` >= 1",
        ),
        (
            {"address": {"name": "A", "street": "B", "city": "C"}},
            "address",
            "missing required field `postcode`",
        ),
    ],
)
def test_a_wrong_line_is_named_with_file_line_and_field(
    orders: list[Order], tmp_path: Path, wrong: bytes | dict[str, object], field: str, problem: str
) -> None:
    file = tmp_path / "mine.jsonl"
    line = wrong if isinstance(wrong, bytes) else changed(orders[1], **wrong)
    file.write_bytes(msgspec.json.encode(orders[0]) + b"\n\n" + line + b"\n")

    with pytest.raises(BadOrders) as raised:
        read_orders(file)

    assert str(raised.value).startswith(f"{file}, line 3: {field}")
    assert problem in str(raised.value)
    assert (raised.value.line, raised.value.field) == (3, field)


def test_a_number_used_twice_is_named_with_both_lines(orders: list[Order]) -> None:
    line = msgspec.json.encode(orders[0])

    with pytest.raises(BadOrders, match=r"mine, line 2: number: 'HS-00001' is also on line 1"):
        parse(line + b"\n" + line + b"\n", "mine")


def test_a_file_without_orders_is_refused() -> None:
    with pytest.raises(BadOrders, match="mine: holds no orders"):
        parse(b"\n\n", "mine")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(BadOrders, match="cannot be read: Is a directory"):
        read_orders(tmp_path)
