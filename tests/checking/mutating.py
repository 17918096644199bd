"""Takes a guard out of the machine or of the barrier's model, for one test: the real source with one line changed."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
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


def install(
    mutant: Mutant,
    monkeypatch: pytest.MonkeyPatch,
    *,
    package: str = ROOT,
    used_in: tuple[str, ...] = (ROOT,),
) -> None:
    """Put a module's changed functions wherever `used_in` uses the sound ones, until the test ends."""
    module = importlib.import_module(f"{package}.{mutant.module}")
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert source.count(mutant.guard) == 1, f"{mutant.module} no longer has exactly one {mutant.guard!r}"
    changed: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(source.replace(mutant.guard, mutant.gap), module.__file__, "exec"), changed)
    swaps = {value: changed[name] for name, value in _functions(module, module.__name__).items()}
    users = [one for name, one in sorted(sys.modules.items()) if name.startswith(used_in)]
    for user in users:
        for name, value in _functions(user).items():
            if value in swaps:
                monkeypatch.setattr(user, name, swaps[value])


def _functions(module: ModuleType, defined_in: str | None = None) -> dict[str, FunctionType]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and defined_in in (None, value.__module__)
    }
