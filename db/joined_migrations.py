"""A participant's migrations as part of a service's own Alembic history.

The service's revision calls `amends.db.participant.upgrade(op, to=...)`: they run in its transaction and in its order,
also offline (`alembic upgrade --sql`). The version table is written as `amends migrate` would.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import text
from sqlalchemy.schema import CreateTable

from amends.db.errors import MigrationBusy, UnknownRevision
from amends.db.migrate import MYSQL_LOCK, MYSQL_UNLOCK, scripts
from amends.db.mysql import is_mysql
from amends.db.schema import SCHEMAS, revision

if TYPE_CHECKING:
    from alembic.operations import Operations
    from alembic.script import Script

_SCHEMA: Final = SCHEMAS["participant"]
_BASE: Final = "base"
# Until the service's transaction ends.
_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(:key)")


def upgrade(op: Operations, *, to: str, since: str | None = None) -> None:
    """Run the migrations up to revision `to`; those that the database has already are left out.

    Offline nothing can be asked: there they begin after `since`, the revision this service's history left off at.
    MySQL and MariaDB commit at its begin and its end.
    Raises: UnknownRevision, MigrationBusy, LeftoverRows, MissingExtra.
    """
    history = _history()
    _require_known(to, history)
    with _turn(op):
        at = _revision(op, since)
        due = [script for script in history if _number(at) < _number(script.revision) <= _number(to)]
        if not due:
            return
        if at is None:
            op.execute(CreateTable(_SCHEMA.version, if_not_exists=True))  # `amends migrate` leaves it, empty.
        for script in due:
            script.module.upgrade()
        if at is None:
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
    with _turn(op):
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
    """Where the database is; `offline` where it cannot be asked."""
    return offline if op.get_context().as_sql else revision(op.get_bind(), "participant")


@contextmanager
def _turn(op: Operations) -> Iterator[None]:
    """Be the only one who migrates our tables. Raises: MigrationBusy.

    PostgreSQL holds the lock until the service's transaction ends. On MySQL it is the session's, which may live on in
    a pool, so it ends with the block; what was done is committed before that, as each change of a table there is.
    """
    if op.get_context().as_sql:
        yield
        return
    connection = op.get_bind()
    key = {"key": _SCHEMA.lock}
    on_mysql = is_mysql(connection.dialect.name)
    # Asked once: whoever holds it may be waiting for this very transaction.
    if on_mysql and not connection.scalar(MYSQL_LOCK, key):
        raise _busy("SHOW PROCESSLIST")
    if connection.dialect.name == "postgresql" and not connection.scalar(_LOCK, key):
        raise _busy("pg_stat_activity")
    if not on_mysql:
        yield
        return
    try:
        # What this transaction sees may be older than the lock.
        connection.exec_driver_sql("COMMIT")
        yield
        connection.exec_driver_sql("COMMIT")
    finally:
        if not connection.invalidated:
            connection.scalar(MYSQL_UNLOCK, key)


def _busy(activity: str) -> MigrationBusy:
    return MigrationBusy(
        "another process is migrating the participant schema of this database; "
        f"see {activity} for it, then run this again"
    )
