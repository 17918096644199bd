"""Participants' contracts, and what is wrong with a saga by them."""

from __future__ import annotations

from typing import Any

import msgspec

from amends.coordinator import Saga, arg, chain, step
from amends.coordinator.contracts import check_contracts
from amends.coordinator.saga.definition import Definition
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

PACK = {
    "packing-house": {
        "commands": {
            "pack": {
                "args": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"sku": {"type": "integer"}}},
                },
                "result": {
                    "$ref": "#/$defs/Packed",
                    "$defs": {
                        "Packed": {
                            "type": "object",
                            "properties": {
                                "box": {"$ref": "#/$defs/Box"},
                                "free": {"type": "object", "properties": {}, "additionalProperties": True},
                            },
                        },
                        "Box": {"type": "object", "properties": {"size": {"type": "integer"}}},
                    },
                },
                "undo": {"unpack": {}},
            },
            "label": {
                "args": {
                    "anyOf": [
                        {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
                        {"type": "object", "properties": {"at": {"type": "integer"}}, "required": ["at"]},
                    ]
                },
                "undo": {"unpack": {}},
            },
        }
    }
}
CONTRACTS |= PACK

CHILD = Saga(
    "packing",
    step("box", to="store", undo=None),
    version=4,
    input={
        "type": "object",
        "properties": {"sku": {"type": "string"}, "pieces": {"type": "integer", "minimum": 1}},
        "required": ["sku"],
        "additionalProperties": False,
    },
)


def child(name: str, version: int | None) -> Definition | None:
    return CHILD.definition if name == "packing" and version in (None, 4) else None


def problems(*nodes: Any, given: tuple[str, ...] = ("payments", "inventory"), **fields: Any) -> list[str]:
    contracts = {
        name: msgspec.convert({"amends_contract": 1, "participant": name, **CONTRACTS[name]}, Contract)
        for name in given
    }
    saga = Saga("order", chain(*nodes), version=1, input=INPUT, **fields)
    try:
        check_contracts(saga.definition, contracts, child)
    except InvalidDefinition as error:
        return list(error.problems)
    return []


def charge(args: Any = None, **fields: Any) -> Any:
    said = {"card": arg.card, "cents": arg.cents} if args is None else args
    return step("charge", **{"to": "payments", "undo": "refund", "args": said, **fields})


def reserve(args: Any, **fields: Any) -> Any:
    return step("reserve", **{"to": "inventory", "undo": "release", "args": args, **fields})
