"""Definitions: their stored form, its round trip, its hash, and everything that is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amends.coordinator import Saga, arg, chain, group, pivot, result, retry, step
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.json import canonical

PLACE_ORDER = Saga(
    "place-order",
    chain(
        step("reserve", to="inventory", undo="release", args={"lines": arg.lines}),
        group(
            step(
                "charge",
                to="payments",
                undo="refund",
                args={"card": arg.card, "amount": arg.total},
                timeout="20s",
                retry=retry(first="200ms", factor=2, longest="30s"),
            ),
            step("score", to="fraud", reads=True),
        ),
        pivot(step("dispatch", to="shipping", args={"lines": result("reserve"), "to": arg.address})),
        step("confirm", to="mail"),
    ),
    version=1,
    deadline="15m",
).definition


def stored() -> dict[str, Any]:
    """The stored form, to be changed."""
    return json.loads(canonical(PLACE_ORDER.to_json()))


def test_the_stored_form_comes_back_equal_through_text():
    again = Definition.from_json(stored())

    assert again == PLACE_ORDER
    assert again.root == PLACE_ORDER.root
    assert again.hash == PLACE_ORDER.hash
    assert canonical(again.to_json()) == canonical(PLACE_ORDER.to_json())


def test_a_definition_knows_its_participants_and_its_length():
    assert PLACE_ORDER.participants == ("fraud", "inventory", "mail", "payments", "shipping")
    assert PLACE_ORDER.deadline == 15 * 60 * 1000


def test_m5_every_default_is_written_out():
    reserve = stored()["root"]["nodes"][0]

    assert reserve["do"] == "reserve"
    assert reserve["timeout"] == reserve["undo_timeout"] == 30_000
    assert reserve["retry"] == {"first": 1000, "factor": 2, "longest": 60_000, "limit": None, "within": None}
    assert reserve["undo_retry"]["within"] == 24 * 60 * 60 * 1000
    assert stored()["root"]["nodes"][3]["retry"]["within"] == 24 * 60 * 60 * 1000
    assert Saga("x", step("a", to="x", undo="u"), version=1).definition.deadline == 24 * 60 * 60 * 1000


def test_a_form_that_leaves_defaults_out_is_the_same_definition():
    short = {
        "name": "x",
        "version": 1,
        "root": {
            "kind": "chain",
            "nodes": [{"kind": "step", "name": "a", "to": "b", "undo": None, "timeout": "2s"}],
        },
    }

    declared = Saga("x", step("a", to="b", undo=None, timeout=2), version=1).definition

    assert Definition.from_json(short) == declared


def test_whole_factors_have_one_hash():
    json_ = stored()
    json_["root"]["nodes"][0]["retry"]["factor"] = 2.0

    assert Definition.from_json(json_).hash == PLACE_ORDER.hash


def test_literals_have_one_form():
    written = {"object": {"a": {"literal": 1}, "b": {"list": [{"literal": 2}]}}}
    json_ = stored()
    json_["root"]["nodes"][0]["args"] = written
    other = stored()
    other["root"]["nodes"][0]["args"] = {"literal": {"a": 1, "b": [2]}}

    assert Definition.from_json(json_) == Definition.from_json(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(version=2),
        lambda d: d.update(deadline=1000),
        lambda d: d.update(input={"type": "object"}),
        lambda d: d["root"]["nodes"].pop(),
        lambda d: d["root"]["nodes"][0].update(undo=None),
        lambda d: d["root"]["nodes"][0].update(timeout=1),
    ],
)
def test_another_content_has_another_hash(change: Any):
    json_ = stored()
    change(json_)

    assert Definition.from_json(json_).hash != PLACE_ORDER.hash


def problems(json_: object) -> str:
    with pytest.raises(InvalidDefinition) as caught:
        Definition.from_json(json_)
    assert caught.value.problems
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d.pop("name"), "saga: `name` is missing"),
        (lambda d: d.update(name="no spaces"), "saga: `name` is 'no spaces'"),
        (lambda d: d.update(name="x" * 101), "at most 100 characters"),
        (lambda d: d.update(version=True), "saga: `version` is true"),
        (lambda d: d.update(version=0), "it is a whole number from 1"),
        (lambda d: d.update(version=1.0), "it is a whole number from 1"),
        (lambda d: d.update(language=2), "`language` is to be 1"),
        (lambda d: d.update(language=True), "`language` is to be 1"),
        (lambda d: d.update(deadline=None), "`deadline` is null, which is no duration"),
        (lambda d: d.update(deadline="367d"), "at most 366d"),
        (lambda d: d.update(input=[]), "`input` is to be a JSON Schema"),
        (lambda d: d.update(colour="red"), "saga: unknown field 'colour'; known: language, name"),
        (
            lambda d: d.update(root=None),
            "saga: root: null is no kind of node; known: step, wait, sleep, emit, call, chain, group",
        ),
        (lambda d: d.update(root=d["root"]["nodes"][0]), "wrap it: chain(...)"),
        (lambda d: d["root"].update(nodes=[]), "chain: `nodes` is to be a list of one node or more"),
        (lambda d: d["root"]["nodes"][1].update(nodes=5), "chain[1].group: `nodes`"),
        (lambda d: d["root"]["nodes"][0].update(kind="loop"), "chain[0]: 'loop' is no kind of node"),
        (lambda d: d["root"]["nodes"][0].update(to="a.b"), "chain[0] step 'reserve': `to` is 'a.b'"),
        (lambda d: d["root"]["nodes"][0].update(to="receipts"), "a queue of amends itself"),
        (lambda d: d["root"]["nodes"][0].update(name="a/b"), "`name` is 'a/b'"),
        (lambda d: d["root"]["nodes"][0].update(timeout=0), "at least 1ms"),
        (lambda d: d["root"]["nodes"][0].update(timeout=True), "which is no duration"),
        (lambda d: d["root"]["nodes"][0].update(timeout=1.5), "which is no duration"),
        (lambda d: d["root"]["nodes"][0].update(timeout="soon"), 'write "200ms"'),
        (
            lambda d: d["root"]["nodes"][0].update(retry=[]),
            "chain[0] step 'reserve': retry: [] is no object",
        ),
        (
            lambda d: d["root"]["nodes"][0]["retry"].update(factor=0.5),
            "`factor` is 0.5; it is a number from 1",
        ),
        (lambda d: d["root"]["nodes"][0]["retry"].update(factor=True), "`factor` is true"),
        (lambda d: d["root"]["nodes"][0]["retry"].update(limit=-1), "`limit` is -1"),
        (lambda d: d["root"]["nodes"][0]["retry"].update(longest=1), "`longest` is shorter than `first`"),
        (lambda d: d["root"]["nodes"][0].update(reads=True), "it says `undo` and `reads`"),
        (lambda d: d["root"]["nodes"][0].update(reads=1), "`reads` is 1; write true or false"),
        (lambda d: d["root"]["nodes"][0].pop("undo"), "how is it undone?"),
        (lambda d: d["root"]["nodes"][3].update(undo="recall"), "nothing is undone at the pivot or after it"),
        (
            lambda d: d["root"]["nodes"][2]["node"].update(undo="recall"),
            "chain[2].pivot step 'dispatch': nothing is",
        ),
        (lambda d: d["root"]["nodes"][0].update(args=5), "args: 5 is no expression"),
        (lambda d: d["root"]["nodes"][0].update(args={"arg": "x"}), "'x' is no way to a part"),
        (lambda d: d["root"]["nodes"][0].update(args={"arg": [True]}), "no way to a part"),
        (
            lambda d: d["root"]["nodes"][0].update(args={"arg": [], "at": []}),
            "unknown field 'at'; known: arg",
        ),
        (lambda d: d["root"]["nodes"][0].update(args={"list": 5}), "5 does not fit `list`"),
        (lambda d: d["root"]["nodes"][0].update(args={"and": [1]}), "[1] does not fit `and`"),
    ],
)
def test_what_is_malformed_is_refused_with_its_place_and_mend(change: Any, expected: str):
    json_ = stored()
    change(json_)

    assert expected in problems(json_)


def test_all_problems_are_told_at_once():
    json_ = stored()
    json_["version"] = "one"
    json_["root"]["nodes"][0]["to"] = ""
    json_["root"]["nodes"][1]["nodes"][0]["timeout"] = "soon"
    json_["root"]["nodes"][2]["node"]["args"] = {"result": "nobody", "at": []}

    lines = problems(json_).splitlines()

    assert [line.split(":")[0] for line in lines] == [
        "saga",
        "chain[0] step 'reserve'",
        "chain[1].group[0] step 'charge'",
        "chain[2].pivot step 'dispatch'",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (2**63, "64 bits"),
        ("\x00", "zero byte"),
        ("\ud800", "surrogate"),
        ({1: 2}, "a key that is no string"),
        ({"\x00": 2}, "zero byte"),
        ((1,), "a tuple"),
        (b"x", "a bytes"),
        ("x" * 300_000, "characters of text"),
        ([0] * 60_000, "values"),
    ],
)
def test_what_no_database_could_hold_is_refused(value: object, expected: str):
    json_ = stored()
    json_["input"] = {"const": value}

    assert expected in problems(json_)


def test_endless_nesting_is_refused():
    deep: Any = {}
    for _ in range(100_000):
        deep = {"nodes": [deep]}
    circle: Any = []
    circle.append(circle)

    assert "deep" in problems({**stored(), "root": deep})
    assert "deep" in problems({**stored(), "input": {"a": circle}})


def test_a_wide_circle_is_refused():
    circle: Any = []
    circle.extend([circle] * 1000)

    assert problems({**stored(), "input": {"a": circle}})


def test_too_many_nodes_are_refused_once():
    nodes = [
        {"kind": "step", "name": f"s{n}", "to": "x", "undo": None, "args": {"literal": 0}}
        for n in range(1200)
    ]

    text = problems({**stored(), "root": {"kind": "chain", "nodes": nodes}})

    assert text.count("more than 1,000 nodes") == 1


def test_nodes_nested_too_deep_are_refused():
    node: Any = {"kind": "step", "name": "a", "to": "x", "undo": None}
    for _ in range(21):
        node = {"kind": "chain", "nodes": [node]}

    assert "flatten the saga" in problems({**stored(), "root": node})


@pytest.mark.parametrize("thing", [None, 5, "x", [], [1], True, 1.5, b"x", object()])
def test_what_is_no_object_is_refused(thing: object):
    assert problems(thing)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_WORDS = """
    kind nodes node step chain group pivot name to do undo reads args timeout retry undo_retry first factor longest
    limit within arg result at literal object list compare left right and or not eq in version root input 1s a x
""".split()  # noqa: SIM905 - Seventy quoted words are harder to read.
LIKELY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.sampled_from(_WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=6),
    max_leaves=25,
)


def refused_or_sound(json_: object) -> None:
    """It is read and comes back equal, or InvalidDefinition says why not. Nothing else."""
    try:
        definition = Definition.from_json(json_)
    except InvalidDefinition as error:
        refusal = error
    else:
        assert Definition.from_json(json.loads(canonical(definition.to_json()))) == definition
        return
    assert refusal.problems
    assert all(isinstance(problem, str) and ": " in problem for problem in refusal.problems)


@settings(max_examples=150, deadline=None)
@given(ANY_JSON)
def test_no_json_whatever_breaks_the_reader(json_: object):
    refused_or_sound(json_)


@settings(max_examples=150, deadline=None)
@given(LIKELY_JSON)
def test_no_root_whatever_breaks_the_reader(root: object):
    refused_or_sound({"name": "x", "version": 1, "root": root})
    refused_or_sound({"name": "x", "version": 1, "root": {"kind": "chain", "nodes": [root]}})


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_no_change_whatever_to_a_sound_definition_breaks_the_reader(data: st.DataObject):
    json_: Any = stored()
    for _ in range(data.draw(st.integers(1, 3))):
        holder = json_
        for _ in range(data.draw(st.integers(0, 8))):
            inner = [
                v
                for v in (holder.values() if isinstance(holder, dict) else holder)
                if isinstance(v, dict | list) and v
            ]
            if not inner:
                break
            holder = data.draw(st.sampled_from(inner))
        keys = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        key = data.draw(st.sampled_from(keys))
        if data.draw(st.booleans()):
            holder[key] = data.draw(LIKELY_JSON | ANY_JSON)
        else:
            del holder[key]
        if not holder:
            break

    refused_or_sound(json_)
