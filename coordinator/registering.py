"""Registering a definition, with a quick look at what can happen to its sagas: `amends check` within small bounds.

Only what is new is looked at: what stands was looked at when it came. A promise that does not hold refuses the
registration; what can stay behind, need an operator, or never succeed in time is told, and registered all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from amends.coordinator.catalog import Catalog, Registered
from amends.coordinator.checking.exploring import Bounds, Counterexample, Explored, explore
from amends.coordinator.checking.forecasts import warnings
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition

log = logging.getLogger(__name__)

# One mishap finds most of what can go wrong, in milliseconds; a large saga's look ends after a second.
QUICK: Final = Bounds(mishaps=1, acts=0, states_max=20_000, seconds_max=1.0)
STEPS_NAMED_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a quick look told. `complete`: nothing within its bounds is left out."""

    states: int
    complete: bool
    warnings: tuple[str, ...]


def register_checked(
    catalog: Catalog,
    definition: Definition,
    *,
    actor: str,
    activate: bool = True,
    only_if_new: bool = False,
    bounds: Bounds = QUICK,
) -> tuple[Registered, Checked | None]:
    """Register a definition; a new one is looked at before. None: it stood already, or `bounds` leave no time.

    Takes up to a second of this thread. Raises: InvalidDefinition for a promise that does not hold, with the shortest
    run to it; what `Catalog.register` raises.
    """
    checked = None
    if bounds.seconds_max > 0 and catalog.get(definition.name, definition.version) is None:
        checked = look(definition, bounds)
    done = catalog.register(definition, actor=actor, activate=activate, only_if_new=only_if_new)
    return done, checked


def look(definition: Definition, bounds: Bounds = QUICK) -> Checked:
    """Explore a definition's sagas, and log what is found. Raises: InvalidDefinition."""
    explored = explore(definition, bounds)
    of_what = {"saga": definition.name, "version": definition.version}
    if explored.broken:
        log.error("definition_refused", extra={**of_what, "finding": explored.broken[0].finding.text})
        raise InvalidDefinition(definition.name, [_broken(one) for one in explored.broken])
    told = tuple(_warnings(definition, explored))
    log.info(
        "definition_checked",
        extra={**of_what, "states": explored.states, "complete": explored.complete},
    )
    for warning in told:
        log.warning("definition_warning", extra={**of_what, "warning": warning})
    return Checked(states=explored.states, complete=explored.complete, warnings=told)


def within(seconds_left: float, bounds: Bounds = QUICK) -> Bounds:
    """The same bounds, in no more than this time: many definitions share what a start-up may take."""
    return replace(bounds, seconds_max=max(0.0, min(bounds.seconds_max, seconds_left)))


def _broken(one: Counterexample) -> str:
    number = f"invariant {one.finding.kind}: " if one.finding.kind.isdigit() else ""
    return f"{number}{one.finding.text}; the shortest run: {', then '.join(one.run)}"


def _warnings(definition: Definition, explored: Explored) -> Iterator[str]:
    for one in explored.left:
        yield f"{one.finding.text}; `amends check` shows the run"
    stuck = _names(one.finding.path for one in explored.stuck)
    if stuck:
        yield f"can need an operator: {stuck}; `amends check` tells how"
    yield from warnings(definition)


def _names(paths: Iterable[str]) -> str:
    names = sorted({path.partition("/")[0] for path in paths} - {""})
    more = len(names) - STEPS_NAMED_MAX
    return ", ".join(names[:STEPS_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
