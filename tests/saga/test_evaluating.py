"""What expressions come to: comparisons of anything with anything, missing things, membership."""

from __future__ import annotations

from typing import Any

import pytest

from amends.coordinator.saga.evaluating import Unresolved, holds, resolve
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.references import arg, expression_of, item, outer, result

INPUT: dict[str, Json] = {
    "n": 5, "x": 5.0, "t": "b", "yes": True, "no": False, "null": None, "list": [1, "a", None], "map": {"k": [1]},
}  # fmt: skip


class Here:
    """Some input, one step that ran, two items around."""

    input: Json = INPUT

    def result_of(self, name: str) -> Json:
        if name != "ran":
            raise Unresolved(f"result({name!r}) is not there")
        return {"id": 7}

    def item(self, level: int) -> Json:
        if level > 1:
            raise Unresolved("no item")
        return ["inner", "outer"][level]


def true(condition: Any) -> bool:
    return holds(expression_of(condition), Here())


@pytest.mark.parametrize(
    "condition",
    [
        arg.n == 5, arg.n == 5.0, arg.x == 5, arg.n != 6, arg.n < 6, arg.n <= 5, arg.n > 4.5, arg.n >= 5,
        arg.t == "b", arg.t < "c", arg.t <= "b", arg.t > "a", arg.t >= "b", arg.t != 5,
        arg.yes == True, arg.no == False, arg.null == None,  # noqa: E711, E712 - They describe comparisons.
        arg.map == {"k": [1.0]}, arg.list == [1, "a", None],
        arg.n.in_([4, 5]), arg.t.in_(["b"]), arg.null.in_([None]), arg.n.in_([5.0]),
        arg.n.exists(), arg.no.exists(), ~arg.null.exists(), ~arg.missing.exists(), arg.list[-1] == None,  # noqa: E711
        result("ran").id == 7, item == "inner", outer == "outer",
        (arg.n == 5) & (arg.t == "b"), (arg.n == 6) | (arg.t == "b"), ~(arg.n == 6),
        arg.yes, ~arg.no, arg.yes & arg.yes, arg.no | arg.yes,
    ],
    ids=repr,
)  # fmt: skip
def test_this_is_true(condition: Any):
    assert true(condition)


@pytest.mark.parametrize(
    "condition",
    [
        arg.n == "5", arg.yes == 1, arg.no == 0, arg.null == 0, arg.null == False, arg.n == [5],  # noqa: E712
        arg.n != 5, arg.yes != True, arg.map == {"k": [2]}, arg.map == {"k": [1], "l": 1}, arg.list == [1, "a"],  # noqa: E712
        arg.n < "6", arg.t < 6, arg.null < 1, arg.yes < 2, arg.list < [2], arg.n < 5, arg.n > 5, arg.null >= None,
        arg.n.in_([6]), arg.n.in_(5), arg.t.in_("abc"), arg.yes.in_([1]), arg.n.in_([]),
        arg.missing == 1, arg.missing != 1, arg.missing == arg.missing, arg.missing < 1, arg.missing.in_([None]),
        arg.n.in_(arg.missing), result("ran").other == 7, result("did not run").id == 7, ~result("ran").id.exists(),
        arg.null.exists(), arg.list[9].exists(), arg.n.k.exists(), result("did not run").exists(),
        arg.n, arg.t, arg.list, arg.map, arg.null, arg.missing,
        (arg.n == 5) & arg.missing, arg.missing | arg.no, ~arg.yes,
    ],
    ids=repr,
)  # fmt: skip
def test_this_is_false(condition: Any):
    """What is missing, and what has no order, makes a comparison false: its opposite too."""
    assert not true(condition)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (arg.missing, "arg.missing is not there: arg has no field 'missing'"),
        (arg.n.k, "arg.n.k is not there: arg.n is no object but a number"),
        (arg.list.k, "arg.list is no object but a list"),
        (arg.t[0], "arg.t is no list but a string"),
        (arg.null[0], "arg.null is no list but null"),
        (arg.yes[0], "arg.yes is no list but a boolean"),
        (arg.map[0], "arg.map is no list but an object"),
        (arg.list[3], "arg.list has 3 items"),
        (arg.list[-4], "arg.list has 3 items"),
        (item.k, "item.k is not there: item is no object but a string"),
        (outer[0], "outer is no list but a string"),
        (result("ran").x, "result('ran').x is not there"),
        ({"deep": [result("other")]}, "result('other') is not there"),
    ],
    ids=repr,
)
def test_a_value_of_something_missing_cannot_be_made(value: Any, why: str):
    with pytest.raises(Unresolved) as caught:
        resolve(expression_of(value), Here())
    assert why in str(caught.value)


def test_a_value_is_made_of_references_and_plain_values():
    value = {"a": arg.n, "b": [item, 1, {"c": arg.list[0]}], "d": arg.n > 4}

    assert resolve(expression_of(value), Here()) == {"a": 5, "b": ["inner", 1, {"c": 1}], "d": True}
