"""`amends migrate`: bring a database to the schema of this release."""

from __future__ import annotations

import json

import click

from amends.db.config import Environment
from amends.db.engines import open_engine, where
from amends.db.migrate import Migrated, downgrade
from amends.db.migrate import migrate as upgrade
from amends.db.schema import Which


@click.command()
@click.option("--participant", is_flag=True, help="The tables of a participant's own database.")
@click.option(
    "--database",
    metavar="URL",
    help="Which database; otherwise AMENDS_DATABASE_URL, or the file AMENDS_DATABASE_URL_FILE names.",
)
@click.option(
    "--down-to",
    metavar="REVISION",
    help="Go back to this revision; `base` drops every table of amends with all it holds.",
)
@click.option("--yes", is_flag=True, help="Do not ask before going back.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def migrate(participant: bool, database: str | None, down_to: str | None, yes: bool, as_json: bool) -> None:
    """Bring a database to the schema of this release.

    Safe to run again, and from every replica at once: one does it, the others wait.
    """
    which: Which = "participant" if participant else "coordinator"
    url = database or Environment.of_this_process().database_url()
    # Building an index on a full table takes its time.
    engine = open_engine(url, pool_max=2, statement_timeout_s=0, label="amends migrate")
    place = where(engine)
    try:
        if down_to is None:
            done = upgrade(engine, which)
        else:
            if not yes:
                click.confirm(f"Take the {which} schema of {place} back to {down_to}?", abort=True, err=True)
            done = downgrade(engine, which, down_to)
    finally:
        engine.dispose()
    click.echo(
        json.dumps({"schema": which, "before": done.before, "after": done.after})
        if as_json
        else _said(done, place)
    )


def _said(done: Migrated, place: str) -> str:
    if done.before == done.after:
        return f"{done.which} schema of {place}: at {done.after}, nothing to do"
    return f"{done.which} schema of {place}: {done.before or 'nothing'} -> {done.after or 'nothing'}"
