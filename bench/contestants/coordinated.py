"""What amends and the bare loop have in common: their tables, and so the questions about how far they are."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from bench.contestants.databases import Databases
from bench.order import STEPS

ENDED = "SELECT count(*) FROM amends.saga WHERE ended_at IS NOT NULL"
ENDED_OF = "SELECT key FROM amends.saga WHERE id = ANY(%s::uuid[]) AND ended_at IS NOT NULL"
LEFT = """
    SELECT (SELECT count(*) FROM amends.saga WHERE status <> 'completed'), (SELECT count(*) FROM amends.timer),
        (SELECT count(*) FROM amends.step WHERE phase <> 'settled' OR did <> 'done'),
        (SELECT count(*) FROM amends.saga AS s
            WHERE seq <> (SELECT count(*) FROM amends.saga_log AS l WHERE l.saga_id = s.id))
"""
LOOKING = "bench"  # the application name of whoever only looks, so that it can be left out of counts

EFFECTS = "SELECT count(*), count(DISTINCT saga_id) FROM effects"
BARRIER = "SELECT count(*) FROM amends_barrier WHERE op = 'do' AND outcome = 'done'"


class Tables:
    """Reads how far the sagas are, and whether all is right at the end."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._connection = psycopg.connect(databases.coordinator, autocommit=True, application_name=LOOKING)

    def close(self) -> None:
        """Leave the database."""
        self._connection.close()

    def ended(self) -> int:
        """How many sagas have ended."""
        row = self._connection.execute(ENDED).fetchone()
        assert row is not None
        return int(row[0])

    def ended_of(self, ids: Sequence[str]) -> set[str]:
        """The orders of those of these sagas that have ended."""
        return {row[0] for row in self._connection.execute(ENDED_OF, (list(ids),))}

    def findings(self, sagas: int) -> list[str]:
        """Each saga completed, each step done once, with its effect and barrier row; nothing left to do."""
        found = []
        names = ("sagas not completed", "timers left", "steps not done", "sagas whose log has gaps")
        row = self._connection.execute(LEFT).fetchone()
        assert row is not None
        found += [f"{count} {name}" for count, name in zip(row, names, strict=True) if count]
        if self.ended() != sagas:
            found.append(f"{self.ended()} sagas ended instead of {sagas}")
        for step in STEPS:
            url = self._databases.participants[step.participant]
            with psycopg.connect(url, application_name=LOOKING) as connection:
                effects = connection.execute(EFFECTS).fetchone()
                barrier = connection.execute(BARRIER).fetchone()
            if effects != (sagas, sagas) or barrier != (sagas,):
                found.append(
                    f"{step.participant}: {effects} effects and sagas, {barrier} barrier rows for {sagas}"
                )
        return found
