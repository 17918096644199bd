"""`amends locks`: who holds a participant's semantic locks and who waits for them; letting one go by hand (L4)."""

from __future__ import annotations

import json
from typing import Final
from uuid import UUID

import click
from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.participants.cli_barrier import database_option, json_option, opened
from amends.participants.locks.store import LockStore

_ROWS_MAX: Final = 1_000


@click.group()
def locks() -> None:
    """Look at the locks that sagas hold in a participant's database, and let them go where no coordinator will."""


@locks.command(name="list")
@database_option
@json_option
def list_(database: str | None, as_json: bool) -> None:
    """Each lock: the saga that has it, since when, and those that wait, in the order of their turns."""
    with opened(database) as engine, transaction(engine) as connection:
        rows = LockStore(engine.dialect.name).all(connection, _ROWS_MAX)
    for row in rows:
        role = "held" if row["slot"] == "" else "lapsed" if row["lapsed"] else "waits"
        told = {
            "lock": row["name"],
            "is": role,
            "saga": str(row["saga_id"]),
            "name": row["saga_name"],
            "path": row["path"],
            "age_s": round(float(row["age_s"]), 1),
        }
        if as_json:
            click.echo(json.dumps(told))
        else:
            click.echo(
                f"{told['lock']:32} {role:7} {told['age_s']:>10,.0f} s  "
                f"{told['saga']}  {told['name']}, {told['path']}"
            )
    if not rows and not as_json:
        click.echo("no saga holds a lock")


@locks.command()
@click.argument("saga", type=click.UUID)
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_option
@json_option
def release(saga: UUID, yes: bool, database: str | None, as_json: bool) -> None:
    """Let go every lock of a saga, as its end would: for one that no coordinator knows any more.

    Others then see what a saga that still runs has not finished. First look at it: `amends sagas show SAGA`.
    """
    if not yes:
        click.confirm(f"Has saga {saga} ended, or is it unknown to every coordinator?", abort=True, err=True)
    with opened(database) as engine:
        rows = _released(engine, saga)
    click.echo(json.dumps({"released": rows}) if as_json else f"locks and places let go: {rows:,}")


def _released(engine: Engine, saga: UUID) -> int:
    # One transaction: all of a saga's locks go together.
    with transaction(engine) as connection:
        return LockStore(engine.dialect.name).let_go(connection, saga)
