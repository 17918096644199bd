"""`amends barrier`: what a participant's barrier remembers, and forgetting what nobody can ask for any more (B6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click
from sqlalchemy import Engine, case, func, select

from amends.db.config import Environment
from amends.db.engines import open_engine, transaction, where
from amends.db.schema import require_schema
from amends.db.tables.participant import barrier as table
from amends.db.tables.participant import lock
from amends.db.tables.portable import present
from amends.participants.barrier.pruning import RETENTION_S, prune
from amends.participants.barrier.rows import Stand

_DAY_S: Final = 86_400.0
_RETENTION_DAYS: Final = int(RETENTION_S / _DAY_S)

_LOCKS: Final = select(
    func.count(case((lock.c.slot == "", 1))).label("held"),
    func.count(case((lock.c.slot != "", 1))).label("waiting"),
)

database_option = click.option(
    "--database", metavar="URL", help="The participant's own; otherwise AMENDS_DATABASE_URL or its _FILE."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")


@click.group()
def barrier() -> None:
    """Look at a participant's barrier, and prune it where no worker does."""


@barrier.command()
@database_option
@json_option
def stats(database: str | None, as_json: bool) -> None:
    """Count the barrier's rows, by op and outcome, and the locks that sagas hold.

    `on` are events, `finished` ends of sagas that were heard of.

    In doubt are external calls of which nobody has told and nobody is at work on (B5): they stay until the saga's next
    attempt, its undo or an operator's fence settles them.
    """
    doubt = (table.c.outcome == Stand.CALLING.value) & (
        table.c.leased_until.is_(None) | (table.c.leased_until < present())
    )
    asked = (
        select(
            case(
                (table.c.path.like("on:%"), "on"),
                (table.c.path.like("finished:%"), "finished"),
                else_=table.c.op,
            ).label("kind"),
            case((doubt, "in doubt"), else_=table.c.outcome).label("became"),
            func.count().label("rows"),
            func.min(table.c.at).label("oldest"),
        )
        .group_by("kind", "became")
        .order_by("kind", "became")
    )
    with opened(database) as engine, transaction(engine) as connection:
        rows = connection.execute(asked).all()
        locks = connection.execute(_LOCKS).one()
    for row in rows:
        if as_json:
            told = {"op": row.kind, "outcome": row.became, "rows": row.rows, "oldest": row.oldest.isoformat()}
            click.echo(json.dumps(told))
        else:
            click.echo(f"{row.kind:8} {row.became:10} {row.rows:>12,}  oldest {row.oldest:%Y-%m-%d %H:%M}")
    if not rows and not as_json:
        click.echo("the barrier is empty")
    for became, number in (("held", locks.held), ("waits", locks.waiting)):
        if as_json and number:
            click.echo(json.dumps({"op": "lock", "outcome": became, "rows": number, "oldest": None}))
    if not as_json and (locks.held or locks.waiting):
        click.echo(f"locks    {locks.held:,} held, {locks.waiting:,} sagas in line; see `amends locks list`")


@barrier.command(name="prune")
@database_option
@click.option(
    "--retention-days",
    type=click.IntRange(min=2),
    default=_RETENTION_DAYS,
    show_default=True,
    help="Forget steps whose youngest row is older. Never less than the workers keep.",
)
@click.option("--yes", is_flag=True, help="Do not ask before forgetting sooner than workers do by default.")
@json_option
def prune_(database: str | None, retention_days: int, yes: bool, as_json: bool) -> None:
    """Delete the rows of steps that ended long ago, as workers do by themselves.

    A worker tells a command it has no row for from a new one by its saga's age alone. So what is forgotten sooner
    than the workers' retention would run again, if its command came once more.
    """
    if retention_days < _RETENTION_DAYS and not yes:
        click.confirm(
            f"Workers keep {_RETENTION_DAYS} days unless they are told otherwise: have all workers of this participant "
            f"been set to {retention_days} or less?",
            abort=True,
            err=True,
        )
    pruned = 0
    with opened(database) as engine:
        while True:
            # One transaction: the rows of some steps are held, and go together.
            with transaction(engine) as connection:
                some = prune(connection, retention_days * _DAY_S)
            pruned += some
            if not some:
                break
        place = where(engine)
    said = f"rows forgotten by the barrier of {place}: {pruned:,}"
    click.echo(json.dumps({"pruned": pruned}) if as_json else said)


@contextmanager
def opened(database: str | None) -> Iterator[Engine]:
    """The participant's database. Raises: InvalidSetting, UnsupportedDatabase, SchemaOutdated, StoreUnavailable."""
    engine = open_engine(
        database or Environment.of_this_process().database_url(), pool_max=1, label="amends barrier"
    )
    try:
        require_schema(engine, "participant")
        yield engine
    finally:
        engine.dispose()
