"""Who waits for a lock: a test goes on once its other transaction does."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

from amends.db.engines import transaction

_WAITS: Final = {
    "postgresql": """
        SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
    """,
    # Of the whole server, of which each process of a test run has its own. INNODB_TRX is not made anew for whoever asks
    # more often than ten times a second.
    "mysql": """
        SELECT variable_value FROM information_schema.global_status
        WHERE variable_name = 'innodb_row_lock_current_waits'
    """,
}


def waiting_locks(database: Engine) -> int:
    """How many transactions wait for another one's lock."""
    with transaction(database) as connection:
        return int(connection.exec_driver_sql(_WAITS[database.dialect.name]).scalar_one())
