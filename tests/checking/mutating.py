"""Takes a guard out of the real source, for one test: a piece of it is changed, and runs in place of the sound one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

ROOT = "amends.coordinator"


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `module`, `guard` becomes `gap`: the rule that is broken by it."""

    rule: str
    module: str
    guard: str
    gap: str


def install(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, *, package: str = ROOT) -> None:
    """Give the functions and methods of a module the changed code, until the test ends.

    The functions stay who they are, so whoever uses them already uses the changed ones.
    """
    module = importlib.import_module(f"{package}.{mutant.module}")
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert source.count(mutant.guard) == 1, f"{mutant.module} no longer has exactly one {mutant.guard!r}"
    sound = dict(_codes(compile(source, module.__file__, "exec")))
    changed = dict(_codes(compile(source.replace(mutant.guard, mutant.gap), module.__file__, "exec")))
    swapped = 0
    for function in _functions(module):
        name = function.__code__.co_qualname
        if name in changed and _differ(sound[name], changed[name]):
            monkeypatch.setattr(function, "__code__", changed[name])
            swapped += 1
    assert swapped, f"{mutant.rule}: no function of {mutant.module} is changed by it"


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """Every function's code in a module's, by its qualified name."""
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one.co_qualname, one
            yield from _codes(one)


def _differ(one: CodeType, other: CodeType) -> bool:
    """Whether two codes do something else; where they stand in the file is no matter."""
    simple = lambda code: [const for const in code.co_consts if not isinstance(const, CodeType)]  # noqa: E731
    if (one.co_code, one.co_names, simple(one)) != (other.co_code, other.co_names, simple(other)):
        return True
    inner, others = list(_codes(one)), list(_codes(other))
    if [name for name, _ in inner] != [name for name, _ in others]:
        return True
    return any(_differ(code, changed) for (_, code), (_, changed) in zip(inner, others, strict=True))


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, FunctionType):
            yield value
        elif isinstance(value, type):
            yield from _methods(value)


def _methods(owner: type) -> Iterator[FunctionType]:
    for value in vars(owner).values():
        plain: Any = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        plain = getattr(plain, "__wrapped__", plain)
        if isinstance(plain, FunctionType):
            yield plain
