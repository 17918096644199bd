"""Payloads: JSON into the type a handler declares, and what a handler returns into JSON.

Declared may be msgspec Structs, dataclasses, TypedDicts, pydantic models and whatever they are made of: dicts,
lists, unions, enums, dates, UUIDs, Decimals, scalars. Nothing declared means plain JSON values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, get_args

import msgspec

from amends.participants.errors import InvalidHandler, InvalidPayload

# msgspec says where as " - at `$.lines[0].sku`", and names a missing field in the text.
_PLACE: Final = re.compile(r"^(?P<problem>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING: Final = re.compile(r"^Object missing required field `(?P<field>[^`]+)`$")


class PayloadReader:
    """Reads one declared type from JSON."""

    __slots__ = ("_read", "declared")

    def __init__(self, declared: Any) -> None:
        """Raises: InvalidHandler for a type that cannot be read from JSON."""
        self.declared = declared
        self._read = _pydantic_reader(declared) if uses_pydantic(declared) else _msgspec_reader(declared)

    def read(self, payload: bytes | msgspec.Raw) -> Any:
        """The value. Raises: InvalidPayload."""
        return self._read(payload)


def encode(value: Any) -> bytes:
    """The JSON of a payload. Raises: TypeError for a value that JSON cannot hold."""
    return _encoder.encode(value)


def uses_pydantic(declared: Any) -> bool:
    """Whether a type is, or is made of, pydantic models."""
    return hasattr(declared, "__pydantic_validator__") or any(
        uses_pydantic(part) for part in get_args(declared)
    )


def _msgspec_reader(declared: Any) -> Callable[[bytes | msgspec.Raw], Any]:
    try:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(declared)
        custom = isinstance(msgspec.inspect.type_info(declared), msgspec.inspect.CustomType)
    except TypeError as error:
        raise InvalidHandler(f"{declared!r} cannot be read from JSON: {error}") from error
    if custom:
        raise InvalidHandler(
            f"{declared!r} cannot be read from JSON; declare a msgspec Struct, a dataclass, a pydantic model or a dict"
        )

    def read(payload: bytes | msgspec.Raw) -> Any:
        try:
            return decoder.decode(payload)
        except msgspec.ValidationError as error:
            raise _from_msgspec(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidPayload("", f"no readable JSON: {error}") from error

    return read


def _from_msgspec(text: str) -> InvalidPayload:
    match = _PLACE.match(text)
    assert match is not None  # The pattern matches any text.
    problem, path = match["problem"], (match["path"] or "").removeprefix(".")
    missing = _MISSING.match(problem)
    if missing:
        return InvalidPayload(f"{path}.{missing['field']}".removeprefix("."), "missing")
    return InvalidPayload(path, problem[:1].lower() + problem[1:])


def _pydantic_reader(declared: Any) -> Callable[[bytes | msgspec.Raw], Any]:
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(declared)

    def read(payload: bytes | msgspec.Raw) -> Any:
        try:
            return adapter.validate_json(bytes(payload))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            path = ".".join(str(part) for part in first["loc"])
            missing = first["type"] == "missing"
            raise InvalidPayload(path, "missing" if missing else first["msg"]) from error

    return read


def _encode_other(value: Any) -> Any:
    """What msgspec does not know itself: pydantic models."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a {type(value).__qualname__} cannot be written as JSON")
    return dump(mode="json")


_encoder: Final = msgspec.json.Encoder(enc_hook=_encode_other)
