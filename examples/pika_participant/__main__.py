"""Runs the example: `python -m examples.pika_participant`, in the repository's root.

The participant runs in processes of its own, on a real PostgreSQL and RabbitMQ; coordinator and warehouse in this one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import click
import msgspec
from msgspec import Struct
from sqlalchemy import Engine, MetaData, make_url, text

from amends.coordinator import Saga, arg, chain, pivot, retry, step
from amends.db import participant as participant_tables
from amends.db.engines import open_engine, transaction
from amends.db.migrate import migrate
from amends.outbox import open_broker, wire
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Outgoing, command_queue
from amends.participants import Client, Participant, Refused
from examples.running import running, wait_for_end
from examples.servers import Servers, servers
from examples.verdict import Verdict


class Order(Struct):
    number: str
    card: str
    cents: int
    sku: str


order = Saga(
    "pika-order",
    chain(
        step(
            "charge",
            to="payments",
            undo="refund",
            args={"card": arg.card, "cents": arg.cents},
            timeout="5s",
            retry=retry(first="100ms"),
        ),
        pivot(step("pick", to="warehouse", args={"sku": arg.sku})),
    ),
    version=1,
    input=Order,
)

warehouse = Participant("warehouse")


class Pick(Struct):
    sku: str


@warehouse.command
def pick(cmd: Pick) -> None:
    if cmd.sku != "tea":
        raise Refused(f"no {cmd.sku}")


HELD: Final = 1_000_000
ORDERS: Final = [
    Order(
        number=f"{kind} {number}",
        card="nobody's" if kind == "declined" else "4111",
        cents=100,
        sku="gold" if kind == "lacking" else "tea",
    )
    for number in range(20)
    for kind in ("good", "declined", "lacking")
]
_END_S: Final = 90.0
_ANSWER_S: Final = 30.0


@contextmanager
def payments(at: Servers, database: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the participant until the block ends."""
    url = make_url(database).set(drivername="postgresql").render_as_string(hide_password=False)
    broker = urlsplit(at.broker_url)
    # kombu reads no virtual host as "/"; pika takes the URL at its word.
    amqp = f"amqp://{broker.netloc}/{quote(unquote(broker.path[1:]) or '/', safe='')}"
    program = subprocess.Popen(
        [sys.executable, "-m", "examples.pika_participant.payments", amqp, url, at.prefix]
    )
    try:
        yield program
    finally:
        program.terminate()
        program.wait()


def left(database: Engine) -> int:
    """What is on the card."""
    with transaction(database) as connection:
        return int(connection.execute(text("SELECT cents FROM account WHERE card = '4111'")).scalar_one())


def asker(broker: Broker, prefix: str) -> Callable[..., list[str]]:
    """What sends one command, so many times, and gives the outcomes of the answers."""
    answers = f"{prefix}.probe"
    consumer, publisher = broker.consumer([answers], prefetch=10), broker.publisher()

    def ask(command: wire.Command, times: int = 2) -> list[str]:
        queue = command_queue(prefix, "payments", undo=command.op is not wire.Op.DO)
        messages = [
            Message(routing_key=queue, type=wire.COMMAND, body=wire.encode(command), reply_to=answers)
            for _ in range(times)
        ]
        publisher.publish([Outgoing(number, message) for number, message in enumerate(messages)])
        outcomes: list[str] = []
        deadline = time.monotonic() + _ANSWER_S
        while len(outcomes) < times and time.monotonic() < deadline:
            publisher.settled(0)
            for delivery in consumer.receive(0.2):
                consumer.ack([delivery.tag])
                outcomes.append(msgspec.json.decode(delivery.body)["outcome"])
        return outcomes

    return ask


def command(op: wire.Op, name: str, saga: str, **fields: Any) -> wire.Command:
    """A command as a coordinator sends it."""
    return wire.Command(
        saga=saga,
        name="by-hand",
        path="charge",
        op=op,
        command=name,
        round=1,
        attempt=1,
        args=msgspec.Raw(b'{"card": "4111", "cents": 50}'),
        started_at=int(time.time() * 1000),
        **fields,
    )


def probe(ask: Callable[..., list[str]], database: Engine, verdict: Verdict) -> None:
    """What no saga shows on purpose: copies, an undo that comes first, a fence."""
    before = left(database)
    twice, early, fenced = (str(uuid4()) for _ in range(3))
    verdict.equal("two copies of a do", ask(command(wire.Op.DO, "charge", twice)), ["done", "done"])
    verdict.equal("what two copies cost", before - left(database), 50)
    verdict.equal("two copies of its undo", ask(command(wire.Op.UNDO, "refund", twice)), ["done", "done"])
    verdict.equal(
        "an undo that comes first", ask(command(wire.Op.UNDO, "refund", early)), ["nothing", "nothing"]
    )
    verdict.equal("its do, late", ask(command(wire.Op.DO, "charge", early)), ["refused", "refused"])
    verdict.equal("a fence", ask(command(wire.Op.FENCE, "charge", fenced)), ["never", "never"])
    verdict.equal(
        "the do that it keeps out", ask(command(wire.Op.DO, "charge", fenced)), ["refused", "refused"]
    )
    verdict.equal("what all that costs", before - left(database), 0)


def main() -> None:
    """Order, kill the participant in between, and compare what is paid with what is picked."""
    verdict = Verdict()
    with ExitStack() as stack:
        at = stack.enter_context(servers())
        paid_url = at.database()
        engines = [open_engine(url) for url in (at.database(), at.database(), paid_url)]
        for engine in engines:
            stack.callback(engine.dispose)
        coordinator, stock, paid = engines
        migrate(coordinator, "coordinator")
        participant_tables.create(stock)
        broker = open_broker(at.broker_url)
        first = stack.enter_context(payments(at, paid_url))
        stack.enter_context(
            running(
                coordinator,
                {"warehouse": stock},
                broker,
                prefix=at.prefix,
                sagas=[order],
                participants=[warehouse],
                tables=MetaData(),
            )
        )
        client = Client(service="warehouse", prefix=at.prefix, broker=broker)
        stack.callback(client.close)
        wait_for_table(paid)
        with transaction(paid) as connection:
            connection.execute(text("INSERT INTO account VALUES ('4111', :cents)"), {"cents": HELD})
        with transaction(stock) as connection:
            sagas = [client.start(connection, order, one, key=one.number) for one in ORDERS]
        while left(paid) == HELD:
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)
        click.echo("killed the participant in the middle of its work")
        stack.enter_context(payments(at, paid_url))
        wait_for_end(coordinator, sagas, _END_S)
        with transaction(coordinator) as connection:
            ends = dict(connection.execute(text("SELECT key, status FROM amends.saga")).all())
        wanted = {
            one.number: "completed" if one.number.startswith("good") else "compensated" for one in ORDERS
        }
        verdict.equal("how the sagas ended", ends, wanted)
        verdict.equal("what is left on the card", left(paid), HELD - 20 * 100)
        called = client.call("payments", "charge", {"card": "4111", "cents": 7}, timeout=60)
        verdict.equal("the answer to a call", called, {"charged": 7})
        probe(asker(broker, at.prefix), paid, verdict)
    verdict.tell("a participant of pika and psycopg alone keeps the protocol, also when it is killed")


def wait_for_table(database: Engine) -> None:
    """Until the participant has made its tables. Raises: ClickException."""
    deadline = time.monotonic() + _ANSWER_S
    while True:
        with transaction(database) as connection:
            if connection.execute(text("SELECT to_regclass('account')")).scalar_one():
                return
        if time.monotonic() > deadline:
            raise click.ClickException("the participant does not come up")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
