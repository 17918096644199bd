"""Whether every value of one schema fits another: what is told, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from amends.outbox.contracts.fitting import Side, misfits

STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}


def thing(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def told(given: Any, wanted: Any, *, strict: bool = True) -> list[tuple[str, str]]:
    return [(one.at, one.text) for one in misfits(Side.of(given), Side.of(wanted), strict=strict)]


FITTING = [
    (STRING, STRING),
    (INTEGER, NUMBER),
    (STRING, True),
    (STRING, {}),
    (STRING, {"type": ["string", "null"]}),
    (STRING, {"anyOf": [STRING, {"type": "null"}]}),
    ({"enum": ["a"]}, {"enum": ["a", "b"]}),
    ({"enum": ["a"]}, STRING),
    ({"const": 3}, {"type": "integer", "minimum": 3}),
    (thing("a", "b", a=STRING, b=STRING), thing("a", a=STRING)),
    (thing("a", a=STRING), thing(a=STRING, b=STRING)),
    ({"type": "array", "items": INTEGER}, {"type": "array", "items": NUMBER}),
    ({"type": "integer", "minimum": 5}, {"type": "integer", "minimum": 3}),
    ({"$ref": "#/$defs/A", "$defs": {"A": thing("a", a=STRING)}}, thing("a", a=STRING)),
    ({"$ref": "#/$defs/a~1b~0c", "$defs": {"a/b~c": STRING}}, STRING),
    ({"const": True}, {"type": ["boolean", "integer"], "minimum": 2}),
    (False, STRING),
]


@pytest.mark.parametrize(("given", "wanted"), FITTING)
def test_what_fits_is_not_told(given: Any, wanted: Any) -> None:
    assert told(given, wanted) == told(given, wanted, strict=False) == []


MISFITS = [
    (STRING, INTEGER, "", "a string"),
    (NUMBER, INTEGER, "", "a number"),
    ({"type": ["string", "null"]}, STRING, "", "null"),
    ({"anyOf": [STRING, {"type": "null"}]}, STRING, "", "null"),
    ({"enum": ["a", "b"]}, {"enum": ["a"]}, "", "'b'"),
    ({"enum": [1]}, {"enum": [True]}, "", "an integer"),
    ({"enum": [True]}, {"enum": [1, "a", False]}, "", "True"),
    ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": STRING}}, INTEGER, "", "a string"),
    (thing(a=STRING), thing("a", a=STRING), ".a", "may be missing"),
    (thing("b", b=STRING), thing("a", a=STRING), ".a", "is missing"),
    (thing("a", a=STRING), thing("a", a=INTEGER), ".a", "a string"),
    (thing(a=STRING), {**thing(), "additionalProperties": False}, ".a", "not taken"),
    (thing(a=STRING), {**thing(), "additionalProperties": INTEGER}, ".a", "a string"),
    ({"type": "array", "items": STRING}, {"type": "array", "items": INTEGER}, "[]", "a string"),
    ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 3}, "", "minimum"),
    ({"const": 2}, {"type": "integer", "minimum": 3}, "", "minimum"),
    ({"const": "abcd"}, {"type": "string", "maxLength": 3}, "", "maxLength"),
    (STRING, False, "", "nothing is taken"),
]


@pytest.mark.parametrize(("given", "wanted", "at", "text"), MISFITS)
def test_what_does_not_fit_is_told_with_its_place(given: Any, wanted: Any, at: str, text: str) -> None:
    for strict in (True, False):
        found = told(given, wanted, strict=strict)
        assert found[0][0] == at, found
        assert text in found[0][1]


ONLY_STRICT = [
    (True, STRING),
    ({}, {"enum": ["a"]}),
    (STRING, {"enum": ["a"]}),
    (STRING, {"type": "string", "maxLength": 3}),
    (STRING, {"type": "string", "pattern": "^a"}),
    ({"type": "object"}, thing("a", a=STRING)),
    (thing("a", a=STRING), {**thing("a", a=STRING), "additionalProperties": False}),
]


@pytest.mark.parametrize(("given", "wanted"), ONLY_STRICT)
def test_what_one_side_does_not_say_breaks_only_strictly(given: Any, wanted: Any) -> None:
    assert told(given, wanted)
    assert not told(given, wanted, strict=False)


def test_schemas_that_refer_to_themselves_come_to_an_end() -> None:
    def tree(leaf: dict[str, Any]) -> dict[str, Any]:
        return {"$ref": "#/$defs/T", "$defs": {"T": thing("leaf", leaf=leaf, next={"$ref": "#/$defs/T"})}}

    assert told(tree(STRING), tree(STRING)) == []
    assert told(tree(STRING), tree(INTEGER))[0][0] == ".leaf"
