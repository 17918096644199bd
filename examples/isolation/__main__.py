"""Runs the example: `python -m examples.isolation`, in the repository's root. docs/isolation.md tells the rest.

The coordinator and the bank have databases on a PostgreSQL, the broker is RabbitMQ; both run in this process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep

import click
from sqlalchemy import Engine, select, text

from amends.coordinator import Saga
from amends.db import participant as participant_tables
from amends.db.engines import open_engine, transaction
from amends.db.migrate import migrate
from amends.db.tables.participant import lock
from amends.outbox.broker import open_broker
from amends.participants import Client
from examples.isolation import sagas as of
from examples.isolation.bank import LARGE_CENTS, account, bank, metadata
from examples.isolation.sagas import Wish
from examples.running import running, wait_for_end
from examples.servers import servers
from examples.verdict import Verdict

SAGAS = 4


class World:
    """The bank's database and the coordinator's, and short ways to use them."""

    def __init__(self, coordinator: Engine, database: Engine, prefix: str) -> None:
        self._coordinator = coordinator
        self._database = database
        self._client = Client(service="bank", prefix=prefix)

    def open_account(self, name: str) -> str:
        """An empty account."""
        with transaction(self._database) as connection:
            connection.execute(account.insert().values(name=name))
        return name

    def start(self, saga: Saga, *wishes: Wish) -> list[str]:
        """Start one saga for each wish, all in one transaction: they run side by side."""
        with transaction(self._database) as connection:
            return [self._client.start(connection, saga, wish) for wish in wishes]

    def run(self, saga: Saga, *wishes: Wish) -> Counter[str]:
        """Start them, wait for them, and count how they ended."""
        return self.ends(self.start(saga, *wishes))

    def ends(self, ids: list[str]) -> Counter[str]:
        """How these end."""
        wait_for_end(self._coordinator, ids, 60.0)
        with transaction(self._coordinator) as connection:
            asked = text("SELECT status FROM amends.saga WHERE id = ANY(CAST(:ids AS uuid[]))")
            return Counter(connection.execute(asked, {"ids": ids}).scalars())

    def ended(self, id_: str) -> bool:
        """Whether this one has ended already."""
        with transaction(self._coordinator) as connection:
            asked = text("SELECT ended_at IS NOT NULL FROM amends.saga WHERE id = :id")
            return bool(connection.execute(asked, {"id": id_}).scalar_one())

    def look(self, name: str) -> dict[str, object]:
        """An account as it stands."""
        with transaction(self._database) as connection:
            return dict(connection.execute(select(account).where(account.c.name == name)).one()._mapping)

    def locks(self) -> int:
        """How many locks and places in line there are."""
        with transaction(self._database) as connection:
            return len(connection.execute(select(lock.c.name)).all())

    def await_no_locks(self) -> None:
        """Wait until the bank has heard of every end. Raises: TimeoutError."""
        deadline = monotonic() + 30.0
        while self.locks():
            if monotonic() > deadline:
                raise TimeoutError("locks are left though their sagas have ended")
            sleep(0.05)


@contextmanager
def real_world() -> Iterator[World]:
    """On PostgreSQL and RabbitMQ."""
    with ExitStack() as stack:
        at = stack.enter_context(servers())
        coordinator, database = open_engine(at.database()), open_engine(at.database())
        for engine in (coordinator, database):
            stack.callback(engine.dispose)
        migrate(coordinator, "coordinator")
        participant_tables.create(database)
        broker = open_broker(at.broker_url)
        stack.callback(broker.close)
        stack.enter_context(
            running(
                coordinator,
                {"bank": database},
                broker,
                prefix=at.prefix,
                sagas=of.sagas,
                participants=[bank],
                tables=metadata,
            )
        )
        yield World(coordinator, database, at.prefix)


def show_locks(world: World, verdict: Verdict) -> None:
    """Without a lock updates are lost; with one they are made one after another."""
    name = world.open_account("unguarded")
    world.run(of.unguarded, *[Wish(name, 1)] * SAGAS)
    lost = SAGAS - int(str(world.look(name)["cents"]))
    click.echo(f"unguarded: {SAGAS} sagas added 1 each, and {lost} of them were lost")
    verdict.equal("that something is lost without a lock", lost > 0, True)

    name = world.open_account("locked")
    ends = world.run(of.locked, *[Wish(name, 1)] * SAGAS)
    click.echo(f"semantic lock: {SAGAS} sagas added 1 each, and the account has {world.look(name)['cents']}")
    verdict.equal(
        "what was added under a lock", (world.look(name)["cents"], ends["completed"]), (SAGAS, SAGAS)
    )


def show_reread(world: World, verdict: Verdict) -> None:
    """Who built on what is no more true turns back."""
    name = world.open_account("reread")
    ends = world.run(of.reread, *[Wish(name, 1)] * SAGAS)
    click.echo(f"reread value: {ends['completed']} of {SAGAS} went through, the others turned back")
    verdict.equal("what those added that went through", world.look(name)["cents"], ends["completed"])
    verdict.equal("that some turned back", ends["compensated"] > 0, True)


def show_commutative(world: World, verdict: Verdict) -> None:
    """Undone in the midst of others, the sum is right."""
    name = world.open_account("commutative")
    sums = (1, 20, LARGE_CENTS, 300, LARGE_CENTS * 2, 4_000)
    ends = world.run(of.commutative, *[Wish(name, cents) for cents in sums])
    click.echo(f"commutative updates: {dict(ends)}, and the account has {world.look(name)['cents']}")
    verdict.equal("the sum of what was approved", world.look(name)["cents"], 4_321)


def show_version(world: World, verdict: Verdict) -> None:
    """The newer one comes first; the older changes nothing any more."""
    name = world.open_account("versioned")
    for holder, version in (("Ann Lee", 2), ("Ann", 1)):
        world.run(of.versioned, Wish(name, holder=holder, version=version))
    click.echo(f"version: after version 2 and a late version 1 the holder is {world.look(name)['holder']}")
    verdict.equal("the holder", world.look(name)["holder"], "Ann Lee")


def show_by_value(world: World, verdict: Verdict) -> None:
    """Two large withdrawals go one after another; a small one passes them."""
    name = world.open_account("by value")
    large = world.start(of.by_value, *[Wish(name, LARGE_CENTS)] * 2)
    world.ends(world.start(of.by_value, Wish(name, 5)))
    waiting = sum(not world.ended(id_) for id_ in large)
    click.echo(f"by value: the small withdrawal is through while {waiting} large one waits its turn")
    verdict.equal("how many large ones are still under way", waiting >= 1, True)
    verdict.equal("how they end", world.ends(large), Counter(completed=2))


def show_pessimistic(world: World, verdict: Verdict) -> None:
    """What was refused was never seen as credit by anybody."""
    name = world.open_account("pessimistic")
    ends = world.run(of.pessimistic, Wish(name, 500), Wish(name, LARGE_CENTS))
    click.echo(f"pessimistic view: {dict(ends)}, and the credit is {world.look(name)['credit']}")
    verdict.equal("the credit", world.look(name)["credit"], 500)


@click.command()
def main() -> None:
    """Show each countermeasure at work."""
    verdict = Verdict()
    with real_world() as world:
        for show in (
            show_locks,
            show_reread,
            show_commutative,
            show_version,
            show_by_value,
            show_pessimistic,
        ):
            show(world, verdict)
        world.await_no_locks()
        verdict.equal("locks left after every end", world.locks(), 0)
    verdict.tell("every countermeasure keeps what isolation would have kept, and no lock outlives its saga")


if __name__ == "__main__":
    main()
