"""Every saga that ships, in the demo and in the examples, is checked."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

import pytest

from amends.coordinator import Saga
from amends.coordinator.checking.exploring import Bounds, explore

ROOT: Final = Path(__file__).parents[2]
SHIPPED: Final = ("demo", "examples")
# States times nodes: far more than the README's saga needs. A larger one is explored as far as that.
NODES_OF_STATES_MAX: Final = 60_000


def shipped() -> dict[str, Saga]:
    """Every saga of the folders by its name, whatever file it is in."""
    found: dict[str, Saga] = {}
    for folder in SHIPPED:
        for file in sorted((ROOT / folder).rglob("*.py")):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            if "Saga(" not in file.read_text(encoding="utf-8"):
                continue
            loaded = importlib.import_module(module if folder == "examples" else f"amends.{module}")
            sagas = (value for value in vars(loaded).values() if isinstance(value, Saga))
            found |= {f"{module}:{saga.name}": saga for saga in sagas}
    return found


FOUND: Final = shipped()


def test_the_examples_are_found():
    names = {saga.name for saga in FOUND.values()}

    assert names >= {"place-order", "conditional-commit", "journey", "trip"}


@pytest.mark.parametrize("name", FOUND)
def test_a_saga_that_ships_holds(name: str):
    """One mishap and one operator's act, in every order; the largest as far as the bound of states."""
    definition = FOUND[name].definition
    states_max = NODES_OF_STATES_MAX // len(definition.plan.by_id)

    explored = explore(definition, Bounds(mishaps=1, acts=1, states_max=states_max, seconds_max=3_600.0))

    assert explored.complete == (explored.states < states_max)
    assert (explored.broken, explored.left) == ([], [])
