"""What one definition changes of another, told so that a person sees what a rollout will do."""

from __future__ import annotations

from typing import Any

from amends.coordinator import Saga, arg, chain, group, pivot, result, retry, step
from amends.coordinator.diff import differences


def saga(*nodes: Any, **fields: Any) -> Saga:
    return Saga("order", chain(*nodes), **{"version": 1, **fields})


def reserve(**fields: Any) -> Any:
    return step(
        "reserve", **{"to": "inventory", "undo": "release", "args": {"sku": arg.sku, "n": 1}, **fields}
    )


def charge(**fields: Any) -> Any:
    return step("charge", **{"to": "payments", "undo": "refund", **fields})


def told(old: Saga, new: Saga) -> list[str]:
    return [str(change) for change in differences(old.definition, new.definition)]


def test_versions_that_do_the_same_differ_in_nothing() -> None:
    assert told(saga(reserve()), saga(reserve(timeout="30s"), version=2)) == []


def test_a_changed_step_is_told_field_by_field() -> None:
    old = saga(reserve(), charge())
    new = saga(
        reserve(undo=None, args={"sku": arg.sku, "n": 2, "at": arg["stock-room"]}, timeout="1m"),
        charge(args={"for": result("reserve").id}, retry=retry(first="2s", limit=3)),
    )

    assert told(old, new) == [
        """chain[0] step 'reserve': undo: "release" -> null""",
        "chain[0] step 'reserve': args.at: not said -> arg['stock-room']",
        "chain[0] step 'reserve': args.n: 1 -> 2",
        "chain[0] step 'reserve': timeout: 30s -> 1m",
        "chain[1] step 'charge': args.for: not said -> result('reserve').id",
        "chain[1] step 'charge': retry.first: 1s -> 2s",
        "chain[1] step 'charge': retry.limit: null -> 3",
        "chain[1] step 'charge': args: arg -> not said",
    ]


def test_added_and_removed_steps_are_told_with_their_places() -> None:
    old = saga(reserve(), charge())
    new = saga(reserve(), group(step("score", to="fraud", reads=True), step("look", to="fraud", reads=True)))

    assert told(old, new) == [
        "chain[1].group: added",
        "chain[1].group[0] step 'score': added",
        "chain[1].group[1] step 'look': added",
        "chain[1] step 'charge': removed",
    ]


def test_a_step_put_before_others_moves_none_of_them() -> None:
    old, new = saga(reserve(), charge()), saga(step("look", to="fraud", reads=True), reserve(), charge())

    assert told(old, new) == ["chain[0] step 'look': added"]


def test_steps_that_change_places_are_moved() -> None:
    old = saga(reserve(), charge(), step("look", to="fraud", reads=True))
    new = saga(charge(), step("look", to="fraud", reads=True), reserve())

    assert told(old, new) == ["chain[2] step 'reserve': moved from chain[0] step 'reserve'"]


def test_what_now_runs_side_by_side_or_at_the_pivot_is_moved_there() -> None:
    old = saga(reserve(), charge(), step("dispatch", to="shipping", undo=None))
    new = saga(group(reserve(), charge()), pivot(step("dispatch", to="shipping")))

    changes = told(old, new)

    assert [change for change in changes if "added" in change] == [
        "chain[0].group: added",
        "chain[1].pivot: added",
    ]
    assert [change for change in changes if "moved" in change] == [
        "chain[0].group[0] step 'reserve': moved from chain[0] step 'reserve'",
        "chain[0].group[1] step 'charge': moved from chain[1] step 'charge'",
        "chain[1].pivot step 'dispatch': moved from chain[2] step 'dispatch'",
    ]


def test_a_group_is_the_same_group_while_it_shares_steps() -> None:
    look = step("look", to="fraud", reads=True)
    old, new = (
        saga(group(reserve(), charge())),
        saga(step("first", to="mail", undo=None), group(charge(), look)),
    )

    assert told(old, new) == [
        "chain[0] step 'first': added",
        "chain[1].group[1] step 'look': added",
        "chain[0].group[0] step 'reserve': removed",
    ]


def test_the_sagas_own_fields_and_its_input_are_told() -> None:
    def schema(**properties: object) -> dict[str, object]:
        return {"type": "object", "properties": properties, "required": sorted(properties)}

    old = saga(reserve(), input=schema(sku={"type": "string"}))
    new = saga(
        reserve(), deadline="15m", input=schema(sku={"type": "string", "maxLength": 5}, n={"type": "integer"})
    )

    assert told(old, new) == [
        "saga: deadline: 1d -> 15m",
        "saga: input.properties.sku.maxLength: not said -> 5",
        'saga: input.properties.n.type: not said -> "integer"',
        'saga: input.required: ["sku"] -> ["n", "sku"]',
    ]


def test_keys_with_dots_are_not_taken_for_nested_ones() -> None:
    old, new = saga(reserve(args={"a": {"b": 1}})), saga(reserve(args={"a.b": 1}))

    assert len(told(old, new)) == 2
