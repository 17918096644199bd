"""A saga against the contracts of its participants: what is refused, with its place and its mend."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from amends.coordinator import Saga, arg, chain, each, item, result, step
from amends.coordinator.contracts import check_contracts
from amends.coordinator.saga.errors import InvalidDefinition
from amends.outbox.contracts.format import Contract

INPUT = {
    "type": "object",
    "properties": {
        "card": {"type": "string"},
        "total": {"type": "number"},
        "cents": {"type": "integer"},
        "note": {"type": ["string", "null"]},
        "anything": {},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"sku": {"type": "string"}, "n": {"type": "string"}}},
        },
    },
    "required": ["card", "total", "cents", "lines"],
}
CHARGE = {
    "type": "object",
    "properties": {
        "card": {"type": "string", "maxLength": 19},
        "cents": {"type": "integer", "minimum": 1},
        "currency": {"enum": ["EUR", "USD"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["card", "cents"],
}
CONTRACTS = {
    "payments": {
        "commands": {
            "charge": {
                "args": CHARGE,
                "result": {"type": "object", "properties": {"payment": {"type": "integer"}}},
                "undo": {"refund": {"args": {**CHARGE, "required": ["card", "cents"]}}},
            },
            "book": {"undo": {"unbook": {}}},
        }
    },
    "inventory": {
        "commands": {
            "reserve": {
                "args": {
                    "type": "object",
                    "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}},
                    "required": ["sku"],
                    "additionalProperties": False,
                },
                "undo": {"release": {}},
            }
        }
    },
}


def problems(*nodes: Any, given: tuple[str, ...] = ("payments", "inventory")) -> list[str]:
    contracts = {
        name: msgspec.convert({"amends_contract": 1, "participant": name, **CONTRACTS[name]}, Contract)
        for name in given
    }
    saga = Saga("order", chain(*nodes), version=1, input=INPUT)
    try:
        check_contracts(saga.definition, contracts)
    except InvalidDefinition as error:
        return list(error.problems)
    return []


def charge(args: Any = None, **fields: Any) -> Any:
    said = {"card": arg.card, "cents": arg.cents} if args is None else args
    return step("charge", **{"to": "payments", "undo": "refund", "args": said, **fields})


def reserve(args: Any, **fields: Any) -> Any:
    return step("reserve", **{"to": "inventory", "undo": "release", "args": args, **fields})


@pytest.mark.parametrize(
    "node",
    [
        charge(),
        charge({"card": "4111", "cents": 5, "currency": "USD", "tags": ["a", arg.card]}),
        charge({"card": arg.anything, "cents": arg.anything.deep.down}),
        charge({"card": arg.card, "cents": arg.cents, "more": 1}),
        charge(arg),
        charge(arg.anything),
        each(arg.lines, reserve({"sku": item.sku})),
    ],
)
def test_a_saga_that_fits_is_let_through(node: Any) -> None:
    assert problems(node) == []


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (charge(do="bill"), "'payments' has no command 'bill'; it has: book, charge; correct the name"),
        (charge(undo="unbook"), "'unbook' is no undo of the command 'charge' of 'payments'; it has: refund"),
        (charge({"cents": arg.cents}), "args.card: is missing, and is required"),
        (charge({"card": arg.card, "cents": "five"}), "args.cents: may be a string, and integer is wanted"),
        (charge({"card": arg.card, "cents": 0}), "args.cents: is 0, and minimum is 1"),
        (charge({"card": "4" * 20, "cents": 1}), "args.card: is '44444444444444444444', and maxLength is 19"),
        (charge({"card": arg.card, "cents": arg.total}), "args.cents: arg.total may be a number, and integer"),
        (charge({"card": arg.note, "cents": 1}), "args.card: arg.note may be null, and string is wanted"),
        (charge({"card": arg.card, "cents": 1, "currency": "GBP"}), "args.currency: may be 'GBP', and one of"),
        (charge({"card": arg.card, "cents": 1, "tags": ["a", 5]}), "args.tags[1]: may be an integer, and string"),
        (charge([1]), "args: may be an array, and object is wanted"),
        (charge("x"), "args: may be a string, and object is wanted"),
        (reserve({"sku": arg.card, "size": 1}), "args.size: is a field that is not taken"),
        (reserve(arg), "args.sku: arg is missing, and is required"),
        (each(arg.lines, reserve({"sku": item.sku, "n": item.n})), "args.n: item.n may be a string, and integer"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_place_and_mend(node: Any, told: str) -> None:
    found = problems(node)

    assert found
    assert told in found[0]
    assert found[0].startswith("chain[0]")
    assert "; " in found[0]


def test_results_of_earlier_steps_are_known_by_their_contracts() -> None:
    found = problems(charge(), reserve({"sku": result("charge").payment}))

    assert found == [
        "chain[1] step 'reserve': args.sku: result('charge').payment may be an integer, and string is wanted; "
        "send what the command 'reserve' of 'inventory' takes"
    ]


def test_every_participant_needs_a_contract_once_contracts_are_given() -> None:
    found = problems(charge(), reserve({"sku": arg.card}), given=("payments",))

    assert found == [
        "chain[1] step 'reserve': no contract of 'inventory' is given (given: payments); add --contracts FILE"
    ]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert len(problems(charge({"cents": "x"}, undo="void"), reserve({}, do="hold"))) == 4
