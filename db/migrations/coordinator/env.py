"""How Alembic runs the coordinator's migrations: on a connection that `amends.db.migrate` opened."""

from __future__ import annotations

from alembic import context

from amends.db.migrations.environment import run

run(context, "coordinator")
