"""A participant's migrations as part of a service's own Alembic history.

The service's revision calls `amends.db.participant.upgrade(op, to=...)`: they run in its transaction and in its order,
also offline (`alembic upgrade --sql`). The version table is written as `amends migrate` would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text
from sqlalchemy.schema import CreateTable

from amends.db.errors import MigrationBusy, UnknownRevision
from amends.db.migrate import scripts
from amends.db.schema import SCHEMAS, revision

if TYPE_CHECKING:
    from alembic.operations import Operations
    from alembic.script import Script

_SCHEMA: Final = SCHEMAS["participant"]
_BASE: Final = "base"
# Until the service's transaction ends. Asked once: whoever holds it may be waiting for this very transaction.
_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(:key)")


def upgrade(op: Operations, *, to: str, since: str | None = None) -> None:
    """Run the migrations up to revision `to`; those that the database has already are left out.

    Offline nothing can be asked: there they begin after `since`, the revision this service's history left off at.
    Raises: UnknownRevision, MigrationBusy, MissingExtra.
    """
    history = _history()
    _require_known(to, history)
    at = _revision(op, since)
    due = [script for script in history if _number(at) < _number(script.revision) <= _number(to)]
    if not due:
        return
    for script in due:
        script.module.upgrade()
    if at is None:
        op.execute(CreateTable(_SCHEMA.version, if_not_exists=True))  # `amends migrate` leaves it, empty.
        op.execute(_SCHEMA.version.insert().values(version_num=op.inline_literal(to)))
    else:
        op.execute(_SCHEMA.version.update().values(version_num=op.inline_literal(to)))


def downgrade(op: Operations, *, to: str = _BASE, since: str | None = None) -> None:
    """Go back to revision `to`; `base` drops every table of amends, and what it holds.

    Offline they begin at `since`, by default this release's revision. Raises: as `upgrade`.
    """
    history = _history()
    if to != _BASE:
        _require_known(to, history)
    at = _revision(op, _SCHEMA.needs if since is None else since)
    due = [script for script in history if _number(to) < _number(script.revision) <= _number(at)]
    for script in reversed(due):
        script.module.downgrade()
    if due and to == _BASE:
        op.drop_table(_SCHEMA.version.name)
    elif due:
        op.execute(_SCHEMA.version.update().values(version_num=op.inline_literal(to)))


def _history() -> list[Script]:
    """Our migrations, oldest first."""
    return sorted(scripts("participant").walk_revisions(), key=lambda script: _number(script.revision))


def _require_known(wanted: str, history: list[Script]) -> None:
    known = [script.revision for script in history]
    if wanted not in known:
        raise UnknownRevision("participant", wanted, known)


def _number(name: str | None) -> int:
    """Revisions are numbers in order; before the first there is nothing."""
    return 0 if name in (None, _BASE) else int(name or 0)


def _revision(op: Operations, offline: str | None) -> str | None:
    """Where the database is; `offline` where it cannot be asked. Raises: MigrationBusy."""
    if op.get_context().as_sql:
        return offline
    connection = op.get_bind()
    if connection.dialect.name == "postgresql" and not connection.scalar(_LOCK, {"key": _SCHEMA.lock}):
        raise MigrationBusy(
            "another process is migrating the participant schema of this database; see pg_stat_activity for it, "
            "then run this again"
        )
    return revision(connection, "participant")
