"""Starts that bring no key, of sagas whose definition makes one: from then on their id is UUIDv5 of name and key (S2).

A door answers with that id. Who put a start into an outbox by the saga's name alone has been given another id, before
anybody could know the key. That one is kept as a placeholder which *stands for* the saga: whoever looks for it is shown
the saga, a signal for it is passed on. It is written in the transaction that settles the start, so a start that comes
again means the same saga, whatever its definition has become.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
from sqlalchemy import Connection

from amends.coordinator.engine.intake import StartItem
from amends.coordinator.engine.placeholders import PLACEHOLDER, Placeholders
from amends.coordinator.engine.starts import Starts
from amends.outbox.wire import saga_id_of

# What stands under ids that are held already.
STANDING: Final = """
    SELECT id, status, head::text AS head FROM amends.saga WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE
"""

# Which of these ids have a saga whose start was accepted.
BEGUN: Final = """
    SELECT id FROM amends.saga WHERE id = ANY(%(ids)s::uuid[]) AND status NOT IN ('placeholder', 'rejected')
"""


def give_keys(
    connection: Connection, starts: Starts, placeholders: Placeholders, items: Collection[StartItem]
) -> None:
    """Give starts that bring no key the one their definition makes, and with it their id. Before any is inserted."""
    for item in items:
        if item.promised:  # The batch runs again.
            _becomes(item, item.promised, None)
            item.promised = ""
    made = [(item, key) for item in items if (key := starts.key_made(connection, item)) is not None]
    made = _settled_now(connection, starts, made)
    # Held before the key decides: two coordinators with the same message, or a signal for it, meet here.
    free = _hold(connection, placeholders, {item.saga_id for item, _ in made if item.is_message})
    for item, key in made:
        if item.is_message and item.saga_id not in free:
            continue  # It began under the id that it brings, when its definition made no key.
        if item.is_message:
            item.promised = item.saga_id
        own = saga_id_of(item.start.name, key)
        stands_for = placeholders.standing[item.promised].stands_for if item.promised else ""
        _becomes(item, stands_for or own, key if stands_for in ("", own) else None)


def _settled_now(
    connection: Connection, starts: Starts, made: list[tuple[StartItem, str]]
) -> list[tuple[StartItem, str]]:
    """Without the messages that wait until their name is resumed: they come again as they are, and nothing is written.

    With the key of a saga that has begun, a start is answered as ever (S2).
    """
    held = {
        id(item): saga_id_of(item.start.name, key)
        for item, key in made
        if item.is_message and starts.suspended(item.start.name)
    }
    if not held:
        return made
    rows = connection.exec_driver_sql(BEGUN, {"ids": sorted(set(held.values()))}).all()
    begun = {str(row.id) for row in rows}
    return [(item, key) for item, key in made if id(item) not in held or held[id(item)] in begun]


def _hold(connection: Connection, placeholders: Placeholders, ids: set[str]) -> set[str]:
    """Lock these ids; those under which no saga stands or stood."""
    if not ids:
        return set()
    placeholders.hold(ids)
    others = sorted(ids - placeholders.standing.keys() - placeholders.spent)
    for row in connection.exec_driver_sql(STANDING, {"ids": others}).all() if others else ():
        if row.status == PLACEHOLDER:
            placeholders.locked(str(row.id), row.head)
    return ids & placeholders.standing.keys()


def _becomes(item: StartItem, saga_id: str, key: str | None) -> None:
    item.saga_id = saga_id
    item.start = msgspec.structs.replace(item.start, saga=saga_id, key=key)
