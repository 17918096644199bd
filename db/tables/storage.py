"""How PostgreSQL keeps busy tables small (O8): what a table is created with there.

Autovacuum's default waits for a fifth of a table to be dead. A table that is full by day and empty by night needs
fixed numbers: vacuum after so many dead rows, whatever the size, and without pauses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import DDL, Table, event

# Inserted, soon deleted, never or seldom updated: outbox, timers.
QUEUE: Final[Mapping[str, object]] = {
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 2000,
    "autovacuum_analyze_scale_factor": 0.05,
    "autovacuum_analyze_threshold": 2000,
    "autovacuum_vacuum_cost_delay": 0,
    "fillfactor": 90,
}

# Updated several times over a life: sagas and their steps. The free space keeps a row's versions on one page.
LIVING: Final[Mapping[str, object]] = {
    "autovacuum_vacuum_scale_factor": 0.02,
    "autovacuum_vacuum_threshold": 2000,
    "autovacuum_analyze_scale_factor": 0.05,
    "autovacuum_vacuum_cost_delay": 0,
    "fillfactor": 75,
}

# A handful of rows, updated all the time: owners' heartbeats, breakers.
HOT: Final[Mapping[str, object]] = {
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 100,
    "fillfactor": 30,
}


def keep_small(table: Table, parameters: Mapping[str, object]) -> Table:
    """Give the table these storage parameters as soon as PostgreSQL has made it; returns the table."""
    told = ", ".join(f"{name} = {value}" for name, value in parameters.items())
    alter = DDL(f"ALTER TABLE %(fullname)s SET ({told})")  # type: ignore[no-untyped-call] # SQLAlchemy left it so.
    event.listen(table, "after_create", alter.execute_if(dialect="postgresql"))
    return table
