"""Room for the whole saga language: steps that wait, and steps whose result an operator gave."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PHASES = "'parked', 'awaiting', 'backoff', 'settled', 'stuck'"
_DIDS = "'unsent', 'unknown', 'done', 'refused', 'in_doubt', 'never', 'skipped'"
_TIMED = "(due_ms IS NOT NULL) = (phase IN ('awaiting', 'backoff'))"


def upgrade() -> None:
    """Wider constraints: what the release before writes still fits."""
    _constrain("ck_step_phase", f"phase IN ({_PHASES}, 'waiting')")
    _constrain("ck_step_did", f"did IN ({_DIDS}, 'forced')")
    _constrain("ck_step_due", f"phase = 'waiting' OR {_TIMED}")


def downgrade() -> None:
    """As it was; refused by the database while a saga uses the wider language."""
    _constrain("ck_step_phase", f"phase IN ({_PHASES})")
    _constrain("ck_step_did", f"did IN ({_DIDS})")
    _constrain("ck_step_due", _TIMED)


def _constrain(name: str, condition: str) -> None:
    op.drop_constraint(name, "step", schema="amends", type_="check")
    op.create_check_constraint(name, "step", condition, schema="amends")
