"""Runs the example: `python -m examples.events`, in the repository's root.

Users sign up: one twice, one with an address that nobody reads, while no worker of `mail` runs. Then one does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic, sleep

import click
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from amends.db import participant as tables
from amends.db.engines import open_engine, transaction
from amends.db.tables.participant import outbox, owner
from amends.outbox import OutboxStore, Relay, open_broker
from amends.outbox.ports import Broker, event_queue
from examples.events.mail import mail
from examples.events.users import User, sign_up
from examples.servers import servers
from examples.verdict import Verdict

NEW = (
    User(1, "Ada", "ada@example.org"),
    User(2, "Bot", "bot@example.invalid"),
    User(3, "Grace", "grace@example.org"),
)
LIMIT_S = 40.0


def prepared(url: str, *statements: str) -> Engine:
    """A service's database, with its own tables and those of amends."""
    engine = open_engine(url)
    tables.create(engine)
    with transaction(engine) as connection:
        for statement in statements:
            connection.execute(text(statement))
    return engine


def rows(engine: Engine, query: str) -> dict[str, object]:
    """What a query of two columns finds."""
    with transaction(engine) as connection:
        return {row[0]: row[1] for row in connection.execute(text(query))}


def main() -> None:
    """Sign up, and show what was written."""
    verdict = Verdict()
    with servers() as at, ExitStack() as stack:
        users = prepared(at.database(), "CREATE TABLE member (id int PRIMARY KEY, name text)")
        letters = prepared(
            at.database(),
            "CREATE TABLE letter (recipient text, said text)",
            "CREATE TABLE heard (type text PRIMARY KEY, total int)",
        )
        for engine in (users, letters):
            stack.callback(engine.dispose)
        broker = open_broker(at.broker_url)
        stack.callback(broker.close)

        # Once a worker has declared its queues they collect events, also while none runs.
        worker = mail.worker(database=letters, broker=broker, prefix=at.prefix)
        worker.start()
        wait_for(lambda: consumed(broker, event_queue(at.prefix, "mail", "welcome")))
        wait_for(lambda: consumed(broker, event_queue(at.prefix, "mail", "count")))
        worker.stop()

        relay = Relay(users, broker, store=OutboxStore(outbox, owner), prefix=at.prefix)
        relay.start()
        stack.callback(relay.stop)
        for user in NEW:
            with Session(users) as session, session.begin():
                sign_up(session, user, prefix=at.prefix)
            click.echo(f"{user.name} signed up")
        try:
            with Session(users) as session, session.begin():
                sign_up(session, NEW[0], prefix=at.prefix)
        except Exception as error:  # noqa: BLE001 - The database's own words.
            click.echo(f"not signed up twice, and not told: {type(error).__name__}")

        worker = mail.worker(database=letters, broker=broker, prefix=at.prefix)
        worker.start()
        stack.callback(worker.stop)
        heard = {"user.created": 3, "letter.written": 2}
        wait_for(lambda: rows(letters, "SELECT type, total FROM heard") == heard)

        verdict.equal("who signed up", set(rows(users, "SELECT id, name FROM member")), {1, 2, 3})
        verdict.equal("events heard of", rows(letters, "SELECT type, total FROM heard"), heard)
        written = rows(letters, "SELECT recipient, count(*) FROM letter GROUP BY recipient")
        verdict.equal("letters", written, {"ada@example.org": 1, "grace@example.org": 1})
    verdict.tell("every user who signed up got one letter, but for the one whose letter was refused")


def consumed(broker: Broker, queue: str) -> bool:
    """Whether a worker consumes this queue: it has declared and bound it before."""
    state = broker.look([queue], timeout_s=5.0)[queue]
    return state is not None and state.consumers > 0


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it holds. Raises: TimeoutError."""
    deadline = monotonic() + LIMIT_S
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"not so after {LIMIT_S:g} s")
        sleep(0.05)


if __name__ == "__main__":
    main()
