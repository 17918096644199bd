"""Definitions by Hypothesis: well-formed ones over the whole language, and what becomes of them by accident."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

PARTICIPANTS = ["inventory", "payments", "shipping"]

# What PostgreSQL cannot hold is refused: it comes by mutation.
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False),
    texts,
)  # fmt: skip
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)
durations = st.one_of(st.integers(1, 86_400_000), st.sampled_from(["200ms", "20s", "1.5m", "2 h"]))
keys = st.lists(st.sampled_from(["sku", "lines", 0, -1, "class"]), max_size=3)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def values(*, in_each: bool) -> st.SearchStrategy[dict[str, Any]]:
    """What args are made of."""
    plain = [st.builds(lambda one: {"literal": one}, json_values), st.builds(lambda at: {"arg": at}, keys)]
    if in_each:
        plain.append(st.builds(lambda at: {"item": 0, "at": at}, keys))
    return st.recursive(
        st.one_of(plain),
        lambda inner: st.one_of(
            st.builds(lambda one: {"object": one}, st.dictionaries(texts, inner, max_size=3)),
            st.builds(lambda one: {"list": one}, st.lists(inner, max_size=3)),
        ),
        max_leaves=4,
    )


def conditions(*, in_each: bool) -> st.SearchStrategy[dict[str, Any]]:
    """What `choose` decides by."""
    operators = st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"])
    number = st.builds(lambda one: {"literal": one}, st.integers(0, 9))
    part = st.builds(lambda at: {"arg": at}, keys)
    atoms = st.one_of(
        st.builds(
            lambda op, left, right: {"compare": op, "left": left, "right": right}, operators, part, number
        ),
        st.builds(lambda one: {"exists": one}, part),
    )
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.builds(lambda a, b: {"and": [a, b]}, inner, inner),
            st.builds(lambda a, b: {"or": [a, b]}, inner, inner),
            st.builds(lambda a: {"not": a}, inner),
        ),
        max_leaves=3,
    )


policies = optional(
    first=st.integers(1, 10_000),
    factor=st.floats(1, 10) | st.integers(1, 10),
    longest=st.just("1h"),
    limit=st.none() | st.integers(0, 20),
    within=st.none() | st.just("7d"),
)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A definition that keeps to every rule."""
    count = iter(range(1_000_000))

    def name() -> str:
        return f"n{next(count)}"

    def step(*, undone: bool, in_each: bool) -> dict[str, Any]:
        said: dict[str, Any] = {"kind": "step", "name": name(), "to": draw(st.sampled_from(PARTICIPANTS))}
        if undone:
            said |= draw(st.sampled_from([{"undo": "u"}, {"undo": None}, {"reads": True}]))
        args = {"args": values(in_each=in_each)}
        return said | draw(
            optional(timeout=durations, retry=policies, undo_retry=st.none() | policies, **args)
        )

    def leaf(*, in_each: bool) -> dict[str, Any]:
        kind = draw(st.sampled_from(["step", "step", "wait", "sleep", "emit"]))
        if kind == "step":
            return step(undone=True, in_each=in_each)
        if kind == "wait":
            return {"kind": "wait", "name": name(), "timeout": draw(durations)} | draw(
                optional(on_timeout=st.sampled_from(["fail", "continue"]), signal=st.just("s.t"))
            )
        if kind == "sleep":
            return {"kind": "sleep", "name": name(), "duration": draw(durations)}
        data = draw(optional(data=values(in_each=in_each)))
        return {
            "kind": "emit",
            "name": name(),
            "type": "a.b",
            "undo": draw(st.sampled_from([None, "a.c"])),
        } | data

    def node(depth: int, *, in_each: bool) -> dict[str, Any]:
        kind = draw(st.sampled_from(["leaf", "leaf", "chain", "group", "choose", "each"]))
        if depth == 0 or kind == "leaf" or (kind == "each" and in_each):
            return leaf(in_each=in_each)
        if kind in ("chain", "group"):
            row = [node(depth - 1, in_each=in_each) for _ in range(draw(st.integers(1, 3)))]
            return {"kind": kind, "nodes": row}
        if kind == "each":
            said = {"kind": "each", "over": {"arg": ["lines"]}, "node": node(depth - 1, in_each=True)}
            return said | draw(optional(at_most=st.integers(1, 9), chunk=st.none() | st.integers(1, 9)))
        when = [
            {"if": draw(conditions(in_each=in_each)), "node": node(depth - 1, in_each=in_each)}
            for _ in range(draw(st.integers(1, 2)))
        ]
        otherwise = node(depth - 1, in_each=in_each) if draw(st.booleans()) else None
        return {"kind": "choose", "when": when, "otherwise": otherwise}

    row = [node(2, in_each=False) for _ in range(draw(st.integers(1, 3)))]
    if draw(st.booleans()):
        row.append({"kind": "pivot", "node": step(undone=False, in_each=False)})
        row.append(step(undone=False, in_each=False))
    said = {"name": "a.saga", "version": draw(st.integers(1, 9)), "root": {"kind": "chain", "nodes": row}}
    return said | draw(optional(deadline=durations, input=st.none() | st.just({"type": "object"})))


@st.composite
def mutants(draw: st.DrawFn, times: int = 2) -> Any:
    """A definition to which something happened: a part replaced, dropped, renamed, doubled or put elsewhere."""
    json: Any = copy.deepcopy(draw(definitions()))
    for _ in range(draw(st.integers(1, times))):
        spots = list(_spots(json))
        if not spots:
            break
        parent, key = draw(st.sampled_from(spots))
        act = draw(st.sampled_from(["replace", "drop", "rename", "double", "swap"]))
        if act == "replace":
            parent[key] = draw(st.one_of(json_values, st.sampled_from(_TEMPTING)))
        elif act == "drop":
            del parent[key]
        elif act == "rename" and isinstance(parent, dict):
            parent[draw(texts | st.sampled_from(["undo", "kind", "to", "at", "if"]))] = parent.pop(key)
        elif act == "double" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        else:
            other, its = draw(st.sampled_from(spots))
            parent[key] = copy.deepcopy(other[its]) if _has(other, its) else None
    return json


_TEMPTING: list[Any] = [
    "", "0s", "-1s", "9" * 30 + "s", "a/b", "a\n", "\x00", "\ud800", 0, -1, 1.0, 1e308, 2**31, 2**63, 2**70, True, [],
    {},    {"kind": []}, {"kind": "step"}, {"literal": {"literal": 1}}, {"arg": [True]}, {"item": 2}, {"item": True},
    {"compare": [], "left": {}, "right": {}}, {"and": [{"literal": 1}]}, {"not": None},
]  # fmt: skip


def _has(parent: Any, key: Any) -> bool:
    return key in parent if isinstance(parent, dict) else key < len(parent)


def _spots(json: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: what holds it, and its key or index."""
    inner = json.items() if isinstance(json, dict) else enumerate(json) if isinstance(json, list) else ()
    for key, value in list(inner):
        yield json, key
        yield from _spots(value)
