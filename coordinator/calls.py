"""Which sagas call which: a cycle of calls would never end, so no definition may close one (K)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeAlias

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.leaves import CallNode

log = logging.getLogger(__name__)

Find: TypeAlias = Callable[[str, int | None], Definition | None]


def calls_of(definition: Definition) -> Iterator[CallNode]:
    """Every call in a definition."""
    for place in definition.plan.by_name.values():
        if isinstance(place.node, CallNode):
            yield place.node


def refuse_cycles(definition: Definition, find: Find) -> None:
    """Follow the calls of a definition through the registered ones, a call without version to the active one.

    A call to a saga that is not registered yet is allowed, whatever the order of deployment, and logged.

    Raises: InvalidDefinition if a call leads back to this definition.
    """
    ways: list[tuple[CallNode, str, tuple[str, ...]]] = [
        (call, f"call {call.name!r}", (call.saga,)) for call in calls_of(definition)
    ]
    seen: set[tuple[str, int | None]] = set()
    while ways:
        call, place, way = ways.pop()
        if call.saga == definition.name and call.version in (None, definition.version):
            through = " calls ".join(repr(name) for name in (definition.name, *way))
            raise InvalidDefinition(
                definition.name, [f"{place}: {through}: that never ends; take one of these calls out"]
            )
        if (call.saga, call.version) in seen:
            continue
        seen.add((call.saga, call.version))
        called = find(call.saga, call.version)
        if called is None:
            names = {"saga": definition.name, "calls": call.saga, "version": call.version}
            log.warning("called_saga_not_registered", extra=names)
            continue
        ways += [(inner, place, (*way, inner.saga)) for inner in calls_of(called)]
