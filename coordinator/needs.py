"""Which handlers of a participant live sagas need: those of active definitions, and of versions with running sagas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.leaves import StepNode
from amends.coordinator.saga.tree import places
from amends.db.engines import transaction

# What new sagas take, and what running ones are pinned to. Not EXISTS: PostgreSQL would look for a version's first live
# saga from the beginning of the table, where the oldest are, which have ended.
LIVE_DEFINITIONS = """
    SELECT name, version, body FROM amends.definition
    WHERE active OR (name, version) IN (SELECT name, version FROM amends.saga WHERE ended_at IS NULL)
    ORDER BY name, version
"""
LIMIT_TIME = "SET LOCAL statement_timeout = '10s'"


@dataclass(frozen=True, slots=True)
class Needs:
    """`handlers` by (op, name), each with the sagas that need it, as `name@version`.

    `unreadable` are live definitions in a newer release's language: what they need is not known here.
    """

    handlers: Mapping[tuple[str, str], Sequence[str]]
    unreadable: Sequence[str]


def needs_of(database: Engine, participant: str) -> Needs:
    """What live sagas need of this participant. Raises: StoreUnavailable."""
    with transaction(database) as connection:
        connection.exec_driver_sql(LIMIT_TIME)
        rows = connection.exec_driver_sql(LIVE_DEFINITIONS).all()
    handlers: dict[tuple[str, str], list[str]] = {}
    unreadable = []
    for name, version, body in rows:
        saga = f"{name}@{version}"
        try:
            definition = Definition.from_json(body)
        except InvalidDefinition:
            unreadable.append(saga)
            continue
        for one in sorted(_handlers(definition, participant)):
            handlers.setdefault(one, []).append(saga)
    return Needs(dict(sorted(handlers.items())), unreadable)


def _handlers(definition: Definition, participant: str) -> set[tuple[str, str]]:
    found = set()
    for _, node in places(definition.root, ""):
        if isinstance(node, StepNode) and node.to == participant:
            said = {"do": node.do, "undo": node.undo, "confirm": node.confirm}
            found |= {(op, name) for op, name in said.items() if name is not None}
    return found
