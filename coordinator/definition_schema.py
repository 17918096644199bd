"""The JSON Schema of the definition language, for clients in any language: `amends definitions schema`.

It tells the form, with every bound of a single field. What takes the whole definition to see (unique names, references
to what is certain to have run, one pivot in its place, how deep and how many) the coordinator checks at registration:
whatever it accepts fits this schema, and what does not fit it refuses. A kind of node that is added gets its entry in
`_NODES`, a kind of expression in `_EXPRESSIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from amends.coordinator.saga.bounds import (
    AT_MOST_MAX,
    CHUNK_MAX,
    LABELS_MAX,
    NAME_CHARS_MAX,
    VERSION_MAX,
)
from amends.coordinator.saga.definition import LANGUAGE
from amends.coordinator.saga.durations import DAY
from amends.coordinator.saga.expressions import COMPARISONS
from amends.coordinator.saga.reading import DURATION_MAX, FACTOR_MAX, LIMIT_MAX
from amends.coordinator.saga.reading_nodes import TIMEOUT_MAX

Schema = dict[str, Any]

ID: Final = f"urn:amends:definition:{LANGUAGE}"


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _duration(most: int) -> Schema:
    text = {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,6})? ?(ms|s|m|h|d)$"}
    return {"anyOf": [{"type": "integer", "minimum": 1, "maximum": most}, text]}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _count(most: int, least: int = 1) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _object(described: str, required: tuple[str, ...], **properties: Schema) -> Schema:
    return {
        "description": described,
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_WORD: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]*$", "maxLength": NAME_CHARS_MAX}
_DOTTED: Final[Schema] = {
    "type": "string",
    "pattern": "^[A-Za-z_][A-Za-z0-9_.-]*$",
    "maxLength": NAME_CHARS_MAX,
}
_NAME: Final = _ref("name")
_MAYBE_NAME: Final = _or_null(_NAME)
_EXPRESSION: Final = _ref("expression")
_NODE: Final = _ref("node")
_NODE_LIST: Final[Schema] = {"type": "array", "items": _NODE, "minItems": 1}
_AT: Final[Schema] = {"type": "array", "items": {"type": ["string", "integer"]}}
_PAIR: Final[Schema] = {"type": "array", "items": _EXPRESSION, "minItems": 2, "maxItems": 2}

# By kind: what the node is for, which fields it must have beside `kind`, and every field it may have.
_NODES: Final[Mapping[str, tuple[str, tuple[str, ...], Mapping[str, Schema]]]] = {
    "step": (
        "One command to one participant. Before the pivot it says one of: `undo` with a command; `undo` null, nothing "
        "can undo it; `reads`, there is nothing to undo. Without `do` the command is called as the step is.",
        ("name", "to"),
        {
            "name": _ref("word"),
            "to": _ref("word"),
            "do": _MAYBE_NAME,
            "undo": _MAYBE_NAME,
            "reads": {"type": "boolean"},
            "confirm": _MAYBE_NAME,
            "args": _EXPRESSION,
            "timeout": _duration(TIMEOUT_MAX),
            "retry": _or_null(_ref("retry")),
            "undo_timeout": _duration(TIMEOUT_MAX),
            "undo_retry": _or_null(_ref("retry")),
        },
    ),
    "wait": (
        "Waits for a signal; its payload is the result.",
        ("name",),
        {
            "name": _NAME,
            "signal": _MAYBE_NAME,
            "timeout": _or_null(_duration(DURATION_MAX)),
            "on_timeout": {"enum": ["fail", "continue"]},
        },
    ),
    "sleep": (
        "Lets some time pass. Without `name` it is called `sleep`.",
        ("duration",),
        {"name": _NAME, "duration": _duration(DURATION_MAX)},
    ),
    "emit": (
        "Publishes a domain event. Before the pivot it says what its undo emits, or null: nothing. "
        "Without `name` it is called as its type is.",
        ("type",),
        {"name": _NAME, "type": _NAME, "data": _EXPRESSION, "undo": _MAYBE_NAME},
    ),
    "call": (
        "A child saga; without a version the one that is active when it starts. "
        "Without `name` it is called as the saga is.",
        ("saga",),
        {"name": _NAME, "saga": _NAME, "version": _or_null(_count(VERSION_MAX)), "args": _EXPRESSION},
    ),
    "chain": ("One after another.", ("nodes",), {"nodes": _NODE_LIST}),
    "group": ("Side by side; done when all are.", ("nodes",), {"nodes": _NODE_LIST}),
    "each": (
        "The same for every item of a list, at most so many at a time; `chunk` makes lists of so many of them.",
        ("over", "node"),
        {
            "over": _EXPRESSION,
            "at_most": _count(AT_MOST_MAX),
            "chunk": _or_null(_count(CHUNK_MAX)),
            "node": _NODE,
        },
    ),
    "choose": (
        "The first branch whose condition holds, else `otherwise`, else nothing.",
        ("when",),
        {
            "when": {
                "type": "array",
                "items": _object("A branch.", ("if", "node"), **{"if": _EXPRESSION, "node": _NODE}),
                "minItems": 1,
            },
            "otherwise": _or_null(_NODE),
        },
    ),
    "pivot": ("The point of no return, once, in the outermost chain.", ("node",), {"node": _NODE}),
}

# Each has its tag as a field, and which other fields it must or may have.
_EXPRESSIONS: Final[Mapping[str, Schema]] = {
    "literal": _object("A JSON value, as it is.", ("literal",), literal={}),
    "arg": _object("A part of the saga's input; all of it if empty.", ("arg",), arg=_AT),
    "result": _object("A part of an earlier result.", ("result",), result=_NAME, at=_AT),
    "item": _object(
        "A part of the item an `each` is at: of the innermost for 0, the next for 1.",
        ("item",),
        item={"enum": [0, 1]},
        at=_AT,
    ),
    "object": _object(
        "An object made of expressions.",
        ("object",),
        object={"type": "object", "additionalProperties": _EXPRESSION},
    ),
    "list": _object("A list made of expressions.", ("list",), list={"type": "array", "items": _EXPRESSION}),
    "compare": _object(
        "A comparison, for conditions.",
        ("compare", "left", "right"),
        compare={"enum": list(COMPARISONS)},
        left=_EXPRESSION,
        right=_EXPRESSION,
    ),
    "exists": _object("It is there, and is not null.", ("exists",), exists=_EXPRESSION),
    "and": _object("Both are true.", ("and",), **{"and": _PAIR}),
    "or": _object("One or both are true.", ("or",), **{"or": _PAIR}),
    "not": _object("It is not true.", ("not",), **{"not": _EXPRESSION}),
}

_RETRY: Final = _object(
    "Try again after `first`, then `factor` times as long each time, up to `longest`; `limit` times, for `within`.",
    (),
    first=_duration(DAY),
    factor={"type": "number", "minimum": 1, "maximum": FACTOR_MAX},
    longest=_duration(DAY),
    limit=_or_null(_count(LIMIT_MAX, least=0)),
    within=_or_null(_duration(DURATION_MAX)),
)


def definition_schema() -> Schema:
    """The schema of what `POST /definitions` takes as `definition`, defaults left out or written out."""
    nodes = {
        kind: _object(described, ("kind", *required), kind={"const": kind}, **fields)
        for kind, (described, required, fields) in _NODES.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "A saga definition of amends",
        "type": "object",
        "properties": {
            "language": {"const": LANGUAGE},
            "name": _NAME,
            "version": _count(VERSION_MAX),
            "deadline": _duration(DURATION_MAX),
            "input": {
                "type": ["object", "null"],
                "description": "A JSON Schema of what a saga is started with.",
            },
            "root": _ref("node-chain"),
            "result": _or_null(_EXPRESSION),
            "key": _or_null(_EXPRESSION),
            "labels": _or_null(
                {"type": "object", "additionalProperties": _EXPRESSION, "maxProperties": LABELS_MAX}
            ),
            "on_stuck": _MAYBE_NAME,
        },
        "required": ["name", "version", "root"],
        "additionalProperties": False,
        "$defs": {
            "word": _WORD,
            "name": _DOTTED,
            "retry": _RETRY,
            "node": {"oneOf": [_ref(f"node-{kind}") for kind in nodes]},
            **{f"node-{kind}": schema for kind, schema in nodes.items()},
            "expression": {"oneOf": [_ref(f"expression-{tag}") for tag in _EXPRESSIONS]},
            **{f"expression-{tag}": schema for tag, schema in _EXPRESSIONS.items()},
        },
    }
