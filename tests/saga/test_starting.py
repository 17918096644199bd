"""What a definition makes of its input: key and labels."""

from __future__ import annotations

from typing import Any

import pytest

from amends.coordinator import Saga, arg, step
from amends.coordinator.saga.starting import Unusable, key_of, labels_of


def saga(**fields: Any) -> Saga:
    return Saga("order", step("charge", to="payments", undo="refund"), version=1, **fields)


@pytest.mark.parametrize(("number", "key"), [("o-1", "o-1"), (7, "7"), ("x" * 255, "x" * 255)])
def test_a_key_is_a_text_or_the_digits_of_a_whole_number(number: object, key: str) -> None:
    assert key_of(saga(key=arg.number).definition, {"number": number}) == key


def test_without_an_expression_there_is_no_key() -> None:
    assert key_of(saga().definition, {"number": "o-1"}) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "has no field 'number'; send it, or start with a key"),
        (None, "is no object but null"),
        ({"number": None}, "it is null"),
        ({"number": True}, "it is a boolean"),
        ({"number": 1.5}, "a number with a fraction"),
        ({"number": ["o-1"]}, "it is a list"),
        ({"number": {}}, "it is an object"),
        ({"number": ""}, "1 to 255 printable characters; this has 0"),
        ({"number": "x" * 256}, "this has 256"),
        ({"number": "a\nb"}, "printable"),
        ({"number": "\ud800"}, "printable"),
    ],
)
def test_what_is_missing_or_no_key_is_told_with_its_place(value: Any, told: str) -> None:
    with pytest.raises(Unusable, match=r"the key, made of arg\.number: ") as raised:
        key_of(saga(key=arg.number).definition, value)

    assert told in str(raised.value)
    assert raised.value.field == "number"


def test_labels_are_texts_numbers_and_booleans_and_what_is_missing_gives_none() -> None:
    labels = {"shop": arg.shop.name, "total": arg.total, "express": arg.express, "no": arg.no, "nor": arg.nor}

    made = labels_of(
        saga(labels=labels).definition,
        {"shop": {"name": "north"}, "total": 1.5, "express": True, "no": None},
    )

    assert made == {"shop": "north", "total": "1.5", "express": "true"}


@pytest.mark.parametrize("value", [["a"], {"a": 1}, "x" * 256, "a\0b"])
def test_what_cannot_be_a_label_is_told_with_its_place(value: Any) -> None:
    with pytest.raises(Unusable, match=r"label 'shop', made of arg\.shop: ") as raised:
        labels_of(saga(labels={"shop": arg.shop}).definition, {"shop": value})

    assert raised.value.field == "shop"


def test_a_saga_knows_the_key_of_an_input() -> None:
    """So a client need not ask the coordinator which saga it has started."""
    assert saga(key=arg.number).key_of({"number": 7}) == "7"
    with pytest.raises(ValueError, match=r"the key, made of arg\.number"):
        saga(key=arg.number).key_of({})
