"""Does every value of one JSON Schema fit another? By what both say; it proves nothing about the rest.

Strict: what the wanted schema asks for must be promised by the given one; keywords it does not know must be the same.
Lenient: only what both say is compared, since a schema that says little may still mean the right values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import gt, lt
from typing import Any, Final

from amends.outbox.contracts.format import Schema

_ALL: Final = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
# What narrows in ways that are not understood here: the same on both sides, or a person must look.
_OPAQUE: Final = (
    "pattern", "format", "multipleOf", "uniqueItems", "contentEncoding", "prefixItems", "patternProperties",
    "propertyNames", "dependentRequired", "dependentSchemas", "contains", "not", "if", "allOf", "unevaluatedProperties",
)  # fmt: skip
_DEPTH_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class Misfit:
    """What does not fit, and where in the value: `.lines[].sku`; empty for all of it."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Side:
    """A schema, and the whole that its references point into."""

    schema: Schema
    whole: Schema

    @classmethod
    def of(cls, schema: Schema) -> Side:
        """A schema that stands by itself."""
        return cls(schema, schema)

    def inner(self, schema: Any) -> Side:
        """A part of it, its reference followed."""
        for _ in range(_DEPTH_MAX):
            if not isinstance(schema, dict) or "$ref" not in schema:
                break
            schema = self._pointed(schema["$ref"])
        return Side(schema if isinstance(schema, dict | bool) else True, self.whole)

    def _pointed(self, ref: object) -> Any:
        found: Any = self.whole
        if not isinstance(ref, str) or not ref.startswith("#"):
            return True
        for part in ref[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key, True) if isinstance(found, dict) else True
        return found

    @property
    def says(self) -> Mapping[str, Any]:
        """Its keywords, none for `true`."""
        return self.schema if isinstance(self.schema, dict) else {}

    @property
    def types(self) -> frozenset[str]:
        """The types its values may have."""
        said = self.says.get("type")
        if isinstance(said, str):
            return frozenset({said})
        if isinstance(said, list):
            return frozenset(said)
        values = self.values
        return _ALL if values is None else frozenset(type_of(value) for value in values)

    @property
    def values(self) -> list[Any] | None:
        """Its values, where it lists them."""
        if "const" in self.says:
            return [self.says["const"]]
        listed = self.says.get("enum")
        return listed if isinstance(listed, list) else None

    @property
    def branches(self) -> list[Any] | None:
        """Its alternatives, if it has some."""
        found = self.says.get("anyOf", self.says.get("oneOf"))
        return found if isinstance(found, list) else None


def type_of(value: object) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


def misfits(given: Side, wanted: Side, *, strict: bool, at: str = "", depth: int = 0) -> Iterator[Misfit]:
    """Why a value of `given` may not be one of `wanted`."""
    given, wanted = given.inner(given.schema), wanted.inner(wanted.schema)
    if wanted.schema is True or wanted.schema == {} or depth > _DEPTH_MAX:
        return
    # Compared as text: 1 and true are equal to Python, and not to JSON.
    if given.schema is False or repr(given) == repr(wanted):
        return
    if wanted.schema is False:
        yield Misfit(at, "nothing is taken here")
        return
    if given.branches is not None:
        for branch in given.branches:
            yield from misfits(given.inner(branch), wanted, strict=strict, at=at, depth=depth + 1)
        return
    if wanted.branches is not None:
        tried = [
            list(misfits(given, wanted.inner(branch), strict=strict, at=at, depth=depth + 1))
            for branch in wanted.branches
        ]
        if all(tried):
            yield from min(tried, key=len)
        return
    if not given.says and not strict:
        return
    kinds = list(_types(given, wanted, at))
    yield from kinds
    if not kinds:
        yield from _values(given, wanted, at, strict)
        yield from _object(given, wanted, at, strict, depth)
        yield from _array(given, wanted, at, strict, depth)
        yield from _bounds(given, wanted, at, strict)


def _types(given: Side, wanted: Side, at: str) -> Iterator[Misfit]:
    taken = wanted.types | ({"integer"} if "number" in wanted.types else set())
    lost = given.types - taken  # Who says nothing of the type, and lists no values, takes all.
    if lost:
        named = "any type" if given.types == _ALL else " or ".join(sorted(lost))
        yield Misfit(at, f"may be {_article(named)}, and {' or '.join(sorted(wanted.types))} is wanted")


def _article(named: str) -> str:
    return named if named in ("null", "any type") else f"{'an' if named[0] in 'aio' else 'a'} {named}"


def _values(given: Side, wanted: Side, at: str, strict: bool) -> Iterator[Misfit]:
    if wanted.values is None:
        return
    listed = ", ".join(map(repr, wanted.values))
    if given.values is not None:
        for value in given.values:
            if not any(value == one and type_of(value) == type_of(one) for one in wanted.values):
                yield Misfit(at, f"may be {value!r}, and one of {listed} is wanted")
    elif strict:
        yield Misfit(at, f"may be any {' or '.join(sorted(given.types))}, and one of {listed} is wanted")


def _object(given: Side, wanted: Side, at: str, strict: bool, depth: int) -> Iterator[Misfit]:
    if "object" not in given.types or "object" not in wanted.types:
        return
    have, want = given.says.get("properties", {}), wanted.says.get("properties", {})
    promised = given.says.get("required", [])
    known = strict or "properties" in given.says
    for name in wanted.says.get("required", []):
        if name not in promised and known:
            missing = "may be missing" if name in have else "is missing"
            yield Misfit(f"{at}.{name}", f"{missing}, and is required")
    more = wanted.says.get("additionalProperties", True)
    for name, inner in have.items():
        if name in want:
            yield from misfits(
                given.inner(inner),
                wanted.inner(want[name]),
                strict=strict,
                at=f"{at}.{name}",
                depth=depth + 1,
            )
        elif more is False:
            yield Misfit(f"{at}.{name}", "is a field that is not taken")
        elif isinstance(more, dict):
            yield from misfits(
                given.inner(inner), wanted.inner(more), strict=strict, at=f"{at}.{name}", depth=depth + 1
            )
    if strict and more is False and given.says.get("additionalProperties", True) is not False:
        yield Misfit(at, "may have further fields, and they are not taken")


def _array(given: Side, wanted: Side, at: str, strict: bool, depth: int) -> Iterator[Misfit]:
    if "array" not in given.types or "array" not in wanted.types:
        return
    want = wanted.inner(wanted.says.get("items", True))
    for index, one in enumerate(given.says.get("prefixItems", [])):
        yield from misfits(given.inner(one), want, strict=strict, at=f"{at}[{index}]", depth=depth + 1)
    items = given.inner(given.says.get("items", True))
    yield from misfits(items, want, strict=strict, at=f"{at}[]", depth=depth + 1)


def _bounds(given: Side, wanted: Side, at: str, strict: bool) -> Iterator[Misfit]:
    values = given.values
    if values is not None:
        for value in values:
            yield from _within(value, wanted, at)
        return
    for names, tighter in ((_LOWER, gt), (_UPPER, lt)):
        for name in names:
            have, want = given.says.get(name), wanted.says.get(name)
            if want is None or (have is None and not strict):
                continue
            if have is None or tighter(want, have):
                told = "nothing" if have is None else have
                yield Misfit(at, f"promises {told} for {name}, and {want} is wanted")
    for name in _OPAQUE if strict else ():
        if name in wanted.says and given.says.get(name) != wanted.says[name]:
            yield Misfit(at, f"{name} is not the same; look at it")


def _within(value: object, wanted: Side, at: str) -> Iterator[Misfit]:
    """A value that is known against bounds."""
    size: Any = value if isinstance(value, int | float) else len(value) if isinstance(value, str) else None
    suffixes = ("imum",) if isinstance(value, int | float) else ("Length",)
    if size is None or isinstance(value, bool):
        return
    for name, want in wanted.says.items():
        if not name.endswith((*suffixes, "Minimum", "Maximum")) or not isinstance(want, int | float):
            continue
        out = {
            "minimum": size < want, "maximum": size > want, "exclusiveMinimum": size <= want,
            "exclusiveMaximum": size >= want, "minLength": size < want, "maxLength": size > want,
        }  # fmt: skip
        if out.get(name, False):
            yield Misfit(at, f"is {value!r}, and {name} is {want}")
