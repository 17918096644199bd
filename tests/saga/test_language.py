"""`Saga` as authors declare it: input types and the schema derived from them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest

from amends.coordinator import Saga, arg, chain, group, step
from amends.coordinator.saga.errors import InvalidDefinition


class AStruct(msgspec.Struct):
    total: int
    note: str = ""


@dataclass
class ADataclass:
    total: int
    note: str = ""


class AModel(pydantic.BaseModel):
    total: int
    note: str = ""


A_SCHEMA = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}


def declared(input_type: Any, args: object = arg.total) -> Saga:
    return Saga("x", chain(step("a", to="x", undo="u", args=args)), version=1, input=input_type)


@pytest.mark.parametrize("input_type", [AStruct, ADataclass, AModel])
def test_a_schema_is_derived_from_the_input_type(input_type: type):
    saga = declared(input_type)

    assert "total" in str(saga.definition.input_schema)
    assert saga.input_type is input_type
    with pytest.raises(InvalidDefinition, match="the input has no field 'totl'"):
        declared(input_type, arg.totl)


@pytest.mark.parametrize("base", [msgspec.Struct, pydantic.BaseModel])
def test_rewording_a_docstring_is_no_other_definition(base: type):
    def with_doc(doc: str) -> Saga:
        fields = {"total": int, "title": str, "description": str}
        return declared(type("Order", (base,), {"__annotations__": fields, "__doc__": doc}), arg.description)

    assert with_doc("An order.").definition == with_doc("What somebody ordered.").definition
    with pytest.raises(InvalidDefinition, match="it has: description, title, total"):
        declared(
            type("Order", (base,), {"__annotations__": {"total": int, "title": str, "description": str}}),
            arg.x,
        )


def test_a_dict_is_a_schema():
    saga = declared(A_SCHEMA)

    assert saga.definition.input_schema == A_SCHEMA
    assert saga.input_type is None


def test_without_an_input_type_anything_will_do():
    assert declared(None).definition.input_schema is None


def test_a_type_without_a_schema_is_refused_with_the_mend():
    class Opaque:
        def __init__(self, total: object) -> None: ...

    with pytest.raises(InvalidDefinition, match="no JSON Schema can be derived from input=Opaque"):
        declared(Opaque)


def test_a_single_node_is_a_chain_of_one():
    one = Saga("x", step("a", to="x", undo="u"), version=1)

    assert one.definition == Saga("x", chain(step("a", to="x", undo="u")), version=1).definition
    assert (
        Saga("x", group(step("a", to="x", undo="u")), version=1).definition.root.to_json()["kind"] == "chain"
    )


def test_a_saga_tells_its_name_and_version():
    saga = declared(None)

    assert (saga.name, saga.version, repr(saga)) == ("x", 1, "<Saga 'x' version 1>")


def test_declaring_a_saga_needs_no_extra():
    """A service that only declares sagas installs no driver, web framework or validator."""
    blocked = "psycopg click rich alembic fastapi uvicorn httpx jsonschema_rs pydantic kombu amqp sqlalchemy"
    code = (
        f"import sys\n"
        f"sys.modules.update(dict.fromkeys({blocked.split()!r}))\n"
        f"from amends.coordinator import *\n"
        f"Saga('x', chain(step('a', to='x', undo=None)), version=1)\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
