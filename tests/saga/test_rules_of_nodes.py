"""The static rules of the nodes beyond step, chain and group: each error names the place and the mend."""

from __future__ import annotations

from typing import Any

import pytest

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
    outer,
    pivot,
    result,
    sleep,
    step,
    wait,
)
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition

A = step("a", to="x", undo="u")


def problem(*nodes: Any, **more: Any) -> str:
    with pytest.raises(InvalidDefinition) as caught:
        Saga("wrong", chain(*nodes), version=1, **more)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("nodes", "place", "mend"),
    [
        ([emit("e")], "chain[0] emit 'e'", 'Say undo="type", or undo=None'),
        ([pivot(step("p", to="x")), emit("e", undo="f")], "chain[1] emit 'e'", "drop `undo`"),
        ([wait("w", timeout="1h", on_timeout="ignore")], "chain[0] wait 'w'", "write 'fail' or 'continue'"),
        ([wait("w", on_timeout="continue")], "chain[0] wait 'w'", "`on_timeout` needs a timeout"),
        ([wait("w", timeout="soon")], "chain[0] wait 'w'", "is no duration; write"),
        ([sleep("0s")], "chain[0] sleep 'sleep'", "at least 1ms"),
        ([sleep("1s"), sleep("1s")], "chain[1] sleep 'sleep'", "name one of them otherwise"),
        ([call("child", version=0)], "chain[0] call 'child'", "a whole number from 1"),
        ([call("no/name")], "chain[0] call 'no/name'", "a name begins with a letter"),
        ([each(5, A)], "chain[0].each", "write a list or refer to one"),
        ([each(arg.l, A, at_most=0)], "chain[0].each", "a whole number from 1 to 1,000"),
        ([each(arg.l, A, chunk=0)], "chain[0].each", "a whole number from 1 to 10,000"),
        (
            [each([], each([], each([], each([], A))))],
            "chain[0].each.each.each.each",
            "call a child saga instead",
        ),
        ([each([], pivot(step("p", to="x")))], "chain[0].each.pivot", "move it there"),
        ([pivot(wait("w"))], "chain[0].pivot", "a pivot wraps exactly one step or call"),
        ([pivot(step("p", to="x")), pivot(call("c"))], "chain[1].pivot", "drop one of them"),
        ([pivot(step("p", to="x", confirm="c"))], "chain[0].pivot step 'p'", "drop `confirm` (P1, P2)"),
        ([step("r", to="x", reads=True, confirm="c")], "chain[0] step 'r'", "drop `confirm`"),
        ([choose()], "chain[0].choose", "a list of one node or more"),
        ([step("b", to="x", undo=None, args=item)], "chain[0] step 'b'", "use arg"),
        ([each([], step("b", to="x", undo=None, args=outer))], "chain[0].each step 'b'", "use arg"),
        ([each(item, A)], "chain[0].each: over", "no `each` is around"),
        ([each(arg.a == 1, A)], "chain[0].each: over", "args take values and plain references"),
        ([emit("e", arg.a == 1, undo=None)], "chain[0] emit 'e'", "args take values and plain references"),
        (
            [choose((arg.a == 1, A)), step("b", to="x", undo=None, args=result("a"))],
            "chain[1] step 'b'",
            "not certain to have run",
        ),
        ([choose((result("a").x == 1, A))], "chain[0].choose[0]: if", "not certain to have run"),
        ([choose((item.x == 1, A))], "chain[0].choose[0]: if", "no `each` is around"),
        ([choose((result("z") == 1, A))], "chain[0].choose[0]: if", "there is no step of that name"),
        (
            [group(A, emit("e", result("a"), undo=None))],
            "chain[0].group[1] emit 'e'",
            "put it earlier in a chain",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_node_that_breaks_a_rule_is_refused_with_its_place_and_the_mend(
    nodes: list[Any], place: str, mend: str
):
    told = problem(*nodes)

    assert any(line.startswith(place) and mend in line for line in told.splitlines()), told


@pytest.mark.parametrize(
    ("more", "place", "mend"),
    [
        ({"result": result("z")}, "saga: result", "there is no step of that name"),
        ({"result": result("maybe")}, "saga: result", "not certain to have run"),
        ({"result": item}, "saga: result", "no `each` is around"),
        ({"key": result("a")}, "saga: key", "not certain to have run"),
        ({"labels": {"shop": result("a")}}, "saga: labels.shop", "not certain to have run"),
        ({"labels": {"shop": arg.x == 1}}, "saga: labels.shop", "plain references"),
        ({"on_stuck": "no/name"}, "saga", "a name begins with a letter"),
    ],
)
def test_what_is_said_of_the_whole_saga_keeps_the_rules_too(more: dict[str, Any], place: str, mend: str):
    told = problem(A, choose((arg.n == 1, step("maybe", to="x", undo="u"))), **more)

    assert any(line.startswith(place) and mend in line for line in told.splitlines()), told


@pytest.mark.parametrize(
    ("expression", "mend"),
    [
        ({"compare": "like", "left": {"arg": []}, "right": {"arg": []}}, "'like' does not fit `compare`"),
        ({"compare": "eq", "left": {"arg": []}}, "is no expression"),
        ({"and": [{"arg": []}]}, "does not fit `and`"),
        ({"or": 5}, "does not fit `or`"),
        ({"not": 5}, "is no expression"),
        ({"exists": None}, "is no expression"),
        ({"item": 2}, "does not fit `item`"),
        ({"item": True}, "does not fit `item`"),
        ({"arg": [1.5]}, "is no way to a part"),
        ({"arg": "a"}, "is no way to a part"),
        ({"result": "a", "at": {}}, "is no way to a part"),
        ({"object": []}, "does not fit `object`"),
        ({"list": {}}, "does not fit `list`"),
        ({"literal": 1, "extra": 2}, "unknown field 'extra'"),
        ({}, "is no expression"),
    ],
)
def test_an_expression_that_cannot_be_read_is_refused_in_its_place(expression: Any, mend: str):
    branch = {"if": expression, "node": {"kind": "sleep", "name": "s", "duration": 1_000}}
    json = {
        "name": "x",
        "version": 1,
        "root": {"kind": "chain", "nodes": [{"kind": "choose", "when": [branch]}]},
    }

    with pytest.raises(InvalidDefinition) as caught:
        Definition.from_json(json)

    told = caught.value.problems
    assert any(line.startswith("chain[0].choose[0]: if") and mend in line for line in told), told


@pytest.mark.parametrize(
    ("node", "mend"),
    [
        ({"kind": "loop"}, "is no kind of node; known: step, wait"),
        (None, "is no kind of node"),
        ({"kind": "each", "node": {"kind": "sleep", "name": "s", "duration": 1}}, "`over` is missing"),
        ({"kind": "each", "over": {"literal": []}}, "is no kind of node"),
        ({"kind": "sleep", "name": "s"}, "`duration` is missing"),
        ({"kind": "wait"}, "`name` is missing"),
        ({"kind": "emit", "name": "e", "undo": None}, "`type` is missing"),
        ({"kind": "call", "name": "c"}, "`saga` is missing"),
        ({"kind": "call", "name": "c", "saga": "d", "to": "x"}, "unknown field 'to'"),
        (
            {"kind": "choose", "when": [{"node": {"kind": "sleep", "name": "s", "duration": 1}}]},
            "`if` is missing",
        ),
        ({"kind": "choose", "when": 5}, "a list of one node or more"),
        ({"kind": "pivot"}, "is no kind of node"),
    ],
)
def test_a_node_that_cannot_be_read_is_refused(node: Any, mend: str):
    with pytest.raises(InvalidDefinition) as caught:
        Definition.from_json({"name": "x", "version": 1, "root": {"kind": "chain", "nodes": [node]}})

    told = caught.value.problems
    assert any("chain[0]" in line and mend in line for line in told), told


def test_the_whole_language_survives_its_stored_form():
    declared = Saga(
        "all",
        chain(
            A,
            each(
                arg.l,
                each(item.m, step("in", to="x", undo="u", confirm="c", args=[item, outer])),
                chunk=2,
                at_most=3,
            ),
            choose(((arg.n > 1) & ~arg.no | arg.t.in_(["x"]), emit("e", undo="f")), otherwise=sleep("1s")),
            wait("w", timeout="1h", on_timeout="continue", signal="s"),
            pivot(call("child", {"k": result("in")}, version=3)),
            emit("done"),
        ),
        version=2,
        result=result("child"),
        key=arg.id,
        labels={"shop": arg.shop},
        on_stuck="all.stuck",
    ).definition

    again = Definition.from_json(declared.to_json())

    assert again == declared
    assert again.to_json() == declared.to_json()
    assert again.calls == ("child",)
