"""Contracts inside branches: what a branch has asked for is there; each misfit is told once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from amends.coordinator import Saga, arg, chain, choose, each, item, result, step
from amends.coordinator.contracts import check_contracts
from amends.outbox.contracts.format import Contract
from tests.contracts.contracted import CONTRACTS, charge, problems

NOTED = charge({"card": arg.note, "cents": 1})


@pytest.mark.parametrize(
    "node",
    [
        choose((arg.note.exists(), NOTED)),
        choose((arg.note.exists() & (arg.cents > 1), NOTED)),
        choose((~arg.note.exists(), step("none", to="payments", do="book", undo="unbook")), otherwise=NOTED),
        choose((arg.note == "a", NOTED)),
        choose((arg.note < "a", each([1], NOTED))),
    ],
)
def test_what_a_branch_asked_for_is_not_null_in_it(node: Any):
    """Without `_not_null` a saga that looks first is refused: arg.note may be null."""
    assert problems(node) == []


@pytest.mark.parametrize(
    "node",
    [
        choose((~arg.note.exists(), NOTED)),
        choose((arg.note.exists() | (arg.cents > 1), NOTED)),
        choose((arg.note != "a", NOTED)),
    ],
)
def test_what_may_be_null_in_a_branch_all_the_same_is_told(node: Any):
    (told,) = problems(node)

    assert "arg.note may be null, and string is wanted" in told


def test_an_optional_model_is_not_null_where_it_was_asked_for():
    schema = {
        "type": "object",
        "properties": {"who": {"anyOf": [{"$ref": "#/$defs/Who"}, {"type": "null"}]}},
        "$defs": {"Who": {"type": "object", "properties": {"card": {"type": ["string", "null"]}}}},
    }
    given = {
        "payments": msgspec.convert(
            {"amends_contract": 1, "participant": "payments", **CONTRACTS["payments"]}, Contract
        )
    }
    node = choose((arg.who.card.exists(), charge({"card": arg.who.card, "cents": 1})))

    check_contracts(Saga("order", chain(node), version=1, input=schema).definition, given)


def test_what_fits_neither_the_command_nor_its_undo_is_told_once():
    """Without `told` it is told twice: as what the undo takes, and as what the command takes."""
    assert problems(charge({"card": arg.card, "cents": "five"})) == [
        "chain[0] step 'charge': args.cents: may be a string, and integer is wanted; "
        "send what the command 'charge' of 'payments' takes"
    ]


def test_a_field_that_no_item_of_a_result_has_is_told():
    """Without `Item` in `Known.lost` it is found when the saga runs."""
    results = each([1, 2], charge())
    node = each(result("charge"), step("book", to="payments", undo="unbook", args={"payment": item.paymant}))

    (told,) = problems(results, node)

    assert told == (
        "chain[1].each step 'book': args: item.paymant: what it goes over has no field 'paymant' there; "
        "it has: payment; correct the name, or export the contract anew"
    )
    assert any("result('charge').paymant" in one for one in problems(charge(), step(
        "book", to="payments", undo="unbook", args=result("charge").paymant
    )))  # fmt: skip
