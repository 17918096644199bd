"""What makes a participant's tables, revision by revision, on each kind of database.

It stays as it was released: a database that took it once is never given another. A test holds it to
`amends.db.tables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# What is spelled otherwise on each: row ids that are never used again, UUIDs, bytes, moments, the present.
_SPELLINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "postgresql": {
        "$id": "BIGSERIAL NOT NULL PRIMARY KEY",
        "$uuid": "UUID",
        "$bytes": "BYTEA",
        "$time": "TIMESTAMP WITH TIME ZONE",
        "$now": "now()",
    },
    "sqlite": {
        "$id": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
        "$uuid": "CHAR(32)",
        "$bytes": "BLOB",
        "$time": "DATETIME",
        "$now": "CURRENT_TIMESTAMP",
    },
}

_OUTBOX: Final = """
CREATE TABLE amends_outbox (
    id $id,
    message_id VARCHAR(64) NOT NULL,
    exchange VARCHAR(255) DEFAULT '' NOT NULL,
    routing_key VARCHAR(255) NOT NULL,
    type VARCHAR(255) NOT NULL,
    correlation_id VARCHAR(255),
    reply_to VARCHAR(255),
    headers TEXT DEFAULT '{}' NOT NULL,
    expiration_ms BIGINT,
    body $bytes NOT NULL,
    ordering_key VARCHAR(255),
    needs_receipt BOOLEAN DEFAULT false NOT NULL,
    created_at $time DEFAULT $now NOT NULL,
    due_at $time DEFAULT $now NOT NULL,
    owner $uuid,
    leased_until $time,
    attempts INTEGER DEFAULT '0' NOT NULL,
    sent_at $time,
    returned_since $time,
    parked_at $time,
    last_error TEXT,
    CONSTRAINT ck_amends_outbox_sent_has_no_owner CHECK (sent_at IS NULL OR owner IS NULL),
    CONSTRAINT ck_amends_outbox_sent_needs_receipt CHECK (sent_at IS NULL OR needs_receipt),
    CONSTRAINT ck_amends_outbox_parked_says_why CHECK (parked_at IS NULL OR last_error IS NOT NULL),
    CONSTRAINT ck_amends_outbox_keyed_has_no_owner CHECK (owner IS NULL OR ordering_key IS NULL)
)
"""

_OWNER: Final = """
CREATE TABLE amends_owner (
    id $uuid NOT NULL,
    label VARCHAR(255) NOT NULL,
    beat_at $time DEFAULT $now NOT NULL,
    PRIMARY KEY (id)
)
"""

_BARRIER: Final = """
CREATE TABLE amends_barrier (
    saga_id $uuid NOT NULL,
    path VARCHAR(300) NOT NULL,
    op VARCHAR(16) NOT NULL,
    round INTEGER NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    certain BOOLEAN NOT NULL,
    final BOOLEAN NOT NULL,
    reason TEXT NOT NULL,
    args $bytes,
    result $bytes,
    leased_until $time,
    lease_token $uuid,
    calls INTEGER NOT NULL,
    at $time DEFAULT $now NOT NULL,
    PRIMARY KEY (saga_id, path, op),
    CONSTRAINT ck_amends_barrier_op CHECK (op IN ('do', 'undo', 'confirm')),
    CONSTRAINT ck_amends_barrier_outcome CHECK ((op = 'do' AND outcome IN ('done', 'refused', 'never', 'calling'))
        OR (op = 'undo' AND outcome IN ('done', 'nothing', 'never', 'calling'))
        OR (op = 'confirm' AND outcome IN ('done', 'never', 'calling'))),
    CONSTRAINT ck_amends_barrier_certain CHECK (certain OR outcome IN ('refused', 'nothing', 'done')),
    CONSTRAINT ck_amends_barrier_lease CHECK ((lease_token IS NULL) = (leased_until IS NULL))
)
"""

_LOCK: Final = """
CREATE TABLE amends_lock (
    name VARCHAR(200) NOT NULL,
    slot VARCHAR(32) NOT NULL,
    saga_id $uuid NOT NULL,
    saga_name VARCHAR(120) NOT NULL,
    path VARCHAR(300) NOT NULL,
    started_ms BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    waits_until_ms BIGINT,
    PRIMARY KEY (name, slot),
    CONSTRAINT ck_amends_lock_waits CHECK ((slot = '') = (waits_until_ms IS NULL))
)
"""

# The same version table as `amends migrate --participant` keeps, so that each knows what the other has done.
_VERSION: Final = """
CREATE TABLE IF NOT EXISTS amends_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT amends_version_pkc PRIMARY KEY (version_num)
)
"""

_INDEXES: Final[Mapping[str, tuple[str, ...]]] = {
    "postgresql": (
        "CREATE INDEX ix_amends_outbox_unowned ON amends_outbox (due_at, id)"
        " WHERE owner IS NULL AND parked_at IS NULL",
        "CREATE INDEX ix_amends_outbox_owned ON amends_outbox (owner, created_at) WHERE owner IS NOT NULL",
        "CREATE INDEX ix_amends_outbox_keyed ON amends_outbox (ordering_key, id)"
        " WHERE ordering_key IS NOT NULL",
        "CREATE INDEX ix_amends_barrier_at ON amends_barrier (at)",
    ),
    "sqlite": (
        "CREATE INDEX ix_amends_outbox_unowned ON amends_outbox (due_at, id)",
        "CREATE INDEX ix_amends_outbox_owned ON amends_outbox (owner, created_at)",
        "CREATE INDEX ix_amends_outbox_keyed ON amends_outbox (ordering_key, id)",
        "CREATE INDEX ix_amends_barrier_at ON amends_barrier (at)",
    ),
}

# O8: vacuum busy tables after so many dead rows, not after a share of the table.
_STORAGE: Final[Mapping[str, tuple[str, ...]]] = {
    "postgresql": (
        "ALTER TABLE amends_outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,"
        " autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 2000,"
        " autovacuum_vacuum_cost_delay = 0, fillfactor = 90)",
        "ALTER TABLE amends_owner SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100,"
        " fillfactor = 30)",
    ),
    "sqlite": (),
}

VERSION_TABLE: Final = "amends_version"
VENDORS: Final = tuple(_SPELLINGS)

# Drop every table, with all it holds.
DROP: Final = tuple(
    f"DROP TABLE IF EXISTS {table}"
    for table in ("amends_lock", "amends_owner", "amends_outbox", "amends_barrier", VERSION_TABLE)
)


def first(vendor: str) -> tuple[str, ...]:
    """The statements of revision 0001 on this kind of database, in order."""
    tables = (_OUTBOX, _OWNER, _BARRIER, _VERSION)
    return (
        *(_spelled(table.strip(), vendor) for table in tables),
        *_INDEXES[vendor],
        *_STORAGE[vendor],
        f"INSERT INTO {VERSION_TABLE} (version_num) VALUES ('0001')",
    )


def second(vendor: str) -> tuple[str, ...]:
    """The statements of revision 0002, after those of 0001."""
    return (
        _spelled(_LOCK.strip(), vendor),
        "CREATE INDEX ix_amends_lock_saga ON amends_lock (saga_id)",
        f"UPDATE {VERSION_TABLE} SET version_num = '0002'",
    )


# What takes each revision back.
BACK: Final[Mapping[str, tuple[str, ...]]] = {
    "0001": DROP,
    "0002": ("DROP TABLE IF EXISTS amends_lock", f"UPDATE {VERSION_TABLE} SET version_num = '0001'"),
}


def _spelled(statement: str, vendor: str) -> str:
    for mark, spelling in _SPELLINGS[vendor].items():
        statement = statement.replace(mark, spelling)
    return statement
