"""The tables the SDK keeps in a service's own database: outbox, owners, barrier, locks."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from amends.db.tables.outbox import outbox_table, owner_table
from amends.db.tables.portable import BYTES, MOMENT, TABLE_OPTIONS, UUID, present

metadata = MetaData()

outbox = outbox_table("amends_outbox", metadata)
owner = owner_table("amends_owner", metadata)

# One row per saga, path and op: what became of it, forever true once written (rules B).
#
#   do:      (none) --handler done--> done        (none) --refused--> refused (certain or not; final once fenced)
#            (none) --undo or fence came first--> never
#            (none) --external call under way--> calling (leased) --> done | refused
#   undo:    (none) --> done | nothing | never (closing fence)
#   confirm: (none) --> done | never (closing fence)
#
# While its handler runs, a row that nobody else sees yet says `calling`. If it is ever seen so without a lease,
# the handler ended our transaction behind our back, and what it did is in doubt (B4).
barrier = Table(
    "amends_barrier",
    metadata,
    Column("saga_id", UUID, primary_key=True),
    Column("path", String(300), primary_key=True),
    Column("op", String(16), primary_key=True),
    Column("round", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("certain", Boolean, nullable=False, default=True),
    Column("final", Boolean, nullable=False, default=False),
    Column("reason", Text, nullable=False, default=""),
    Column("args", BYTES),
    Column("result", BYTES),
    Column("leased_until", MOMENT),
    Column("lease_token", UUID),
    Column("calls", Integer, nullable=False, default=0),
    Column("at", MOMENT, nullable=False, server_default=present()),
    CheckConstraint("op IN ('do', 'undo', 'confirm')", name="ck_amends_barrier_op"),
    CheckConstraint(
        "(op = 'do' AND outcome IN ('done', 'refused', 'never', 'calling'))"
        " OR (op = 'undo' AND outcome IN ('done', 'nothing', 'never', 'calling'))"
        " OR (op = 'confirm' AND outcome IN ('done', 'never', 'calling'))",
        name="ck_amends_barrier_outcome",
    ),
    CheckConstraint("certain OR outcome IN ('refused', 'nothing', 'done')", name="ck_amends_barrier_certain"),
    CheckConstraint("(lease_token IS NULL) = (leased_until IS NULL)", name="ck_amends_barrier_lease"),
    Index("ix_amends_barrier_at", "at"),
    **TABLE_OPTIONS,
)

# Semantic locks: who has a name, and who waits for it (rules L). `slot` is empty for the one that has it, and for each
# that waits its saga's id: the place is good until `waits_until_ms`, and it is as old as `at_ms`. Times are
# milliseconds since 1970, in database time.
lock = Table(
    "amends_lock",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("slot", String(32), primary_key=True),
    Column("saga_id", UUID, nullable=False),
    Column("saga_name", String(120), nullable=False),
    Column("path", String(300), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("waits_until_ms", BigInteger),
    CheckConstraint("(slot = '') = (waits_until_ms IS NULL)", name="ck_amends_lock_waits"),
    Index("ix_amends_lock_saga", "saga_id"),
    **TABLE_OPTIONS,
)
