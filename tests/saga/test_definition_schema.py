"""The published schema and the reader agree, whatever comes; nothing malformed is accepted, nothing crashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, get_args

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from amends.coordinator import (
    Saga,
    arg,
    call,
    chain,
    choose,
    each,
    emit,
    group,
    item,
    pivot,
    sleep,
    step,
    wait,
)
from amends.coordinator.definition_schema import definition_schema
from amends.coordinator.diff import differences
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.json import canonical
from amends.coordinator.saga.reading import Reader
from amends.coordinator.saga.reading_expressions import _TAGS
from amends.coordinator.saga.reading_nodes import NodeReader
from amends.coordinator.saga.tree import Node
from tests.saga.definitions import definitions, json_values, mutants

PUBLISHED: Final = Path(__file__).parents[2] / "docs" / "definition.schema.json"
VALIDATOR: Final = jsonschema_rs.validator_for(definition_schema())
QUICK: Final = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def accepted(value: Any) -> Definition | None:
    """The definition, or None if it is refused in the one way that there is."""
    try:
        return Definition.from_json(value)
    except InvalidDefinition as error:
        problems = error.problems
    assert problems
    assert all(": " in problem for problem in problems), problems
    return None


def kept_true(value: Any) -> None:
    """What holds of any JSON value that somebody may send."""
    definition = accepted(value)
    if definition is None:
        return
    assert VALIDATOR.is_valid(value), value
    stored = json.loads(canonical(definition.to_json()))
    again = Definition.from_json(stored)
    assert VALIDATOR.is_valid(stored), stored
    assert again.to_json() == stored
    assert again.hash == definition.hash
    assert differences(definition, again) == []


def test_the_schema_is_one_and_the_published_one() -> None:
    """After a change of the language: `amends definitions schema > docs/definition.schema.json`."""
    Draft202012Validator.check_schema(definition_schema())

    assert json.loads(PUBLISHED.read_text("utf-8")) == definition_schema()


def test_every_kind_of_node_and_expression_has_its_entry() -> None:
    defs = definition_schema()["$defs"]

    kinds = {one.__name__.removesuffix("Node").lower() for one in _classes(Node)}
    assert {name.removeprefix("node-") for name in defs if name.startswith("node-")} == kinds
    assert {name.removeprefix("expression-") for name in defs if name.startswith("expression-")} == set(_TAGS)


def _classes(union: Any) -> set[type]:
    inner = get_args(union)
    return set().union(*(_classes(one) for one in inner)) if inner else {union}


def test_a_definition_of_the_whole_language_is_accepted_by_both() -> None:
    saga = Saga(
        "everything",
        chain(
            each(
                arg.lines,
                step("reserve", to="inventory", undo="release", confirm="sell", args=item),
                at_most=5,
            ),
            group(wait("approved", timeout="1h"), sleep("5s")),
            choose((arg.total > 5, emit("order.big", undo=None)), otherwise=call("other", name="child")),
            pivot(step("pay", to="payments")),
        ),
        version=3,
        input={"type": "object"},
    )

    kept_true(saga.definition.to_json())


@pytest.mark.timeout(300)
@QUICK
@given(definitions())
def test_well_formed_definitions_are_accepted_and_come_back_as_they_were(value: dict[str, Any]) -> None:
    assert accepted(value) is not None, value
    kept_true(value)


@pytest.mark.timeout(300)
@settings(QUICK, max_examples=150)
@given(mutants())
def test_what_an_accident_makes_of_one_is_accepted_only_if_it_fits_the_schema(value: Any) -> None:
    kept_true(value)


@pytest.mark.timeout(300)
@QUICK
@given(
    json_values | st.dictionaries(st.sampled_from(["name", "version", "root", "input", "kind"]), json_values)
)
def test_no_other_json_is_a_definition(value: Any) -> None:
    assert accepted(value) is None


@pytest.mark.parametrize(
    "value",
    [
        {"name": "a", "version": 1, "root": {"kind": "chain", "nodes": []}},
        {"name": "a", "version": True, "root": {"kind": "chain", "nodes": [{"kind": "sleep"}]}},
        {"name": "a.b", "version": 1, "root": {"kind": "sleep", "name": "x", "duration": 5}},
    ],
)
def test_what_the_schema_refuses_the_reader_refuses(value: Any) -> None:
    assert not VALIDATOR.is_valid(value)
    assert accepted(value) is None


def test_the_page_shows_every_kind_of_node_and_of_expression_in_one_saga():
    """What docs/definitions.md says of the JSON form is read, and fits the schema."""
    page = (Path(__file__).parents[2] / "docs" / "definitions.md").read_text("utf-8")
    whole = json.loads(page.split("```json file=whole.json\n")[1].split("```")[0])

    definition = Definition.from_json(whole)

    assert VALIDATOR.is_valid(whole)
    kinds, tags = set(), set()
    todo: list[object] = [whole]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            kinds |= {one["kind"]} if "kind" in one else set()
            tags |= one.keys() & set(_TAGS) if len(one) <= 3 else set()
        todo += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    assert kinds == set(NodeReader(Reader()).kinds)
    assert tags == set(_TAGS)
    assert {node.name for node in definition.plan.by_name.values()} >= {"order.plain", "pack", "sleep"}


def test_what_is_wrong_is_told_in_json_and_in_its_place():
    """Without `where` in `_node` the place of the outermost node is empty."""
    with pytest.raises(InvalidDefinition) as caught:
        Definition.from_json({"name": "x", "version": None, "root": {"kind": "stepp"}})

    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "saga: `version` is null", "saga: root: 'stepp' is no kind of node"
    ]  # fmt: skip
