"""References and comparisons: descriptions, not values."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from amends.coordinator import arg, result
from amends.coordinator.saga.evaluating import Unresolved, resolve
from amends.coordinator.saga.expressions import Input, Result
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.references import expression_of, json_of


@dataclass(frozen=True)
class Given:
    """Surroundings in which every step has two ids, the second one its own name, and no `each` is around."""

    input: Json
    items: tuple[Json, ...] = ()

    def result_of(self, name: str) -> Json:
        return {"ids": [1, name]}

    def item(self, level: int) -> Json:
        if level >= len(self.items):
            raise Unresolved("there is no item")
        return self.items[level]


def test_attributes_and_items_lead_to_parts():
    assert json_of(arg) == {"arg": []}
    assert json_of(arg.lines[0]["sku"]) == {"arg": ["lines", 0, "sku"]}
    assert json_of(arg["class"].json.name.at) == {"arg": ["class", "json", "name", "at"]}
    assert json_of(result("reserve").id) == {"result": "reserve", "at": ["id"]}


@pytest.mark.parametrize(
    ("described", "op"),
    [
        (arg.a == 1, "eq"),
        (arg.a != 1, "ne"),
        (arg.a < 1, "lt"),
        (arg.a <= 1, "le"),
        (arg.a > 1, "gt"),
        (arg.a >= 1, "ge"),
        (arg.a.in_(1), "in"),
    ],
)
def test_comparing_describes(described: Any, op: str):
    assert json_of(described) == {"compare": op, "left": {"arg": ["a"]}, "right": {"literal": 1}}


def test_conditions_combine():
    described = ~(arg.vip == True) & (result("score") > 5) | arg.country.in_(["DE", "AT"])  # noqa: E712

    assert json_of(described) == {
        "or": [
            {
                "and": [
                    {"not": {"compare": "eq", "left": {"arg": ["vip"]}, "right": {"literal": True}}},
                    {"compare": "gt", "left": {"result": "score", "at": []}, "right": {"literal": 5}},
                ]
            },
            {"compare": "in", "left": {"arg": ["country"]}, "right": {"literal": ["DE", "AT"]}},
        ]
    }
    assert repr(described) == "((~(arg.vip == True) & (result('score') > 5)) | arg.country.in_(['DE', 'AT']))"
    assert repr(True & arg.a) == "(True & arg.a)"
    assert repr(False | arg.a) == "(False | arg.a)"


@pytest.mark.parametrize(
    "ask",
    [
        bool,
        lambda r: r and True,
        lambda r: r == 1 or r == 2,
        lambda r: 1 < r < 5,
        lambda r: not r,
        lambda r: "x" in r,
        iter,
        list,
        str,
        lambda r: f"{r}",
        hash,
        len,
        lambda r: r(),
        int,
        lambda r: {r: 1},
        lambda r: operator.setitem(r, 0, 1),
        lambda r: setattr(r, "field", 1),
        lambda r: r[True],
        lambda r: r[1.5],
    ],
)
def test_asking_for_a_value_is_an_error(ask: Callable[[Any], object]):
    with pytest.raises(TypeError):
        ask(arg.a)


def test_the_error_says_what_to_write_instead():
    with pytest.raises(TypeError, match=r"arg\.a has no value yet.*combine conditions with & \| ~"):
        bool(arg.a)


def test_a_field_with_an_underscore_is_reached_by_item():
    with pytest.raises(AttributeError, match="_id"):
        arg._id  # noqa: B018
    assert json_of(arg["_id"]) == {"arg": ["_id"]}


def test_references_are_copied_like_values():
    assert repr(copy.deepcopy(arg.a[0])) == repr(pickle.loads(pickle.dumps(arg.a[0]))) == "arg.a[0]"


def test_mixtures_keep_their_shape():
    value = {"a": [1, arg.b], "c": {"d": None}, "e": (1, 2)}

    assert json_of(value) == {
        "object": {
            "a": {"list": [{"literal": 1}, {"arg": ["b"]}]},
            "c": {"literal": {"d": None}},
            "e": {"literal": [1, 2]},
        }
    }
    assert resolve(expression_of(value), Given({"b": 7})) == {
        "a": [1, 7],
        "c": {"d": None},
        "e": [1, 2],
    }


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (("x",), r"arg.x is not there: arg has no field 'x'"),
        (("a", "b"), r"arg.a.b is not there: arg.a is no object but a list"),
        (("a", 5), r"arg.a\[5\] is not there: arg.a has 2 items"),
        (("a", -3), r"arg.a\[-3\] is not there"),
        ((0,), r"arg\[0\] is not there: arg is no list but an object"),
        (("n", "x"), r"arg.n is no object but null"),
        (("s", 0), r"arg.s is no list but a string"),
    ],
)
def test_what_is_not_there_says_where_it_ends(at: tuple[str | int, ...], message: str):
    with pytest.raises(Unresolved, match=message):
        resolve(Input(at), Given({"a": [1, 2], "n": None, "s": "text"}))


def test_results_resolve():
    assert resolve(Result("reserve", ("ids", -1)), Given(None)) == "reserve"
