"""Celery tasks as the steps of sagas: a participant `ledger`, for the tests' own process and for real workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from celery import Celery
from kombu import Queue
from msgspec import Struct
from sqlalchemy import text

from amends.outbox.sealing import Seal, SigningKeys
from amends.participants import Ctx, Failed, Refused
from amends.participants.celery import CeleryParticipant
from tests.celery.project import PREFIX, QUORUM

NOW, LATER, COUNTED = f"{PREFIX}.now", f"{PREFIX}.later", f"{PREFIX}.counted"
app = Celery("steps", broker=os.environ["AMENDS_TEST_CELERY_BROKER"], set_as_current=False)
app.conf.update(
    task_queues=[Queue(COUNTED, queue_arguments=QUORUM)],
    worker_prefetch_multiplier=1,
    worker_lost_wait=0.1,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
DATABASE = os.environ["AMENDS_TEST_CELERY_DATABASE"].replace("postgresql://", "postgresql+psycopg://", 1)
ledger = CeleryParticipant("ledger", app, database=DATABASE)


class Reversed:
    """A codec."""

    name = "reversed"
    decodes = frozenset({"reversed"})

    def encode(self, body: bytes) -> bytes:
        """Turned round."""
        return body[::-1]

    def decode(self, name: str, body: bytes) -> bytes:
        """And back."""
        return body[::-1]


TABLE = "CREATE TABLE entry (saga text, what text, pid integer, id bigserial PRIMARY KEY)"


class Entry(Struct):
    """What to write; a task waits in its transaction until the file `wait_for` is there."""

    number: int
    wait_for: str = ""
    soft: bool = False


def write(ctx: Ctx, what: str) -> None:
    """One effect, in the transaction of the handler."""
    ctx.session.execute(
        text("INSERT INTO entry (saga, what, pid) VALUES (:saga, :what, :pid)"),
        {"saga": ctx.saga, "what": what, "pid": os.getpid()},
    )


def _enter(cmd: Entry, ctx: Ctx) -> int:
    write(ctx, "did")
    if cmd.wait_for:
        Path(f"{cmd.wait_for}.begun").touch()
        while not Path(cmd.wait_for).exists():
            time.sleep(0.02)
    if cmd.number == 13:
        raise Refused("unlucky")
    if cmd.number == 14 and ctx.attempt == 1:
        raise RuntimeError("not the first time")
    if cmd.number == 15:
        raise Failed("not now", spent=False)
    return cmd.number * 2


@ledger.task(queue=NOW)
def enter(cmd: Entry, ctx: Ctx) -> int:
    """Write an entry; 13 is refused, 14 fails at its first attempt, 15 always, unspent."""
    return _enter(cmd, ctx)


@enter.undo
def strike(cmd: Entry, result: int, ctx: Ctx) -> None:
    """Take it back: in the participant's own worker."""
    write(ctx, f"undid {result}")


@enter.confirm
def seal(cmd: Entry, result: int, ctx: Ctx) -> None:
    """Confirm it."""
    write(ctx, f"confirmed {result}")


@ledger.task(name="enter_later", queue=LATER)
def enter_later(cmd: Entry, ctx: Ctx) -> int:
    """The same on a queue that no worker consumes until a test starts one."""
    return _enter(cmd, ctx)


@enter_later.undo(name="strike_later")
def strike_later(cmd: Entry, result: int, ctx: Ctx) -> None:
    """Take it back."""
    write(ctx, f"undid {result}")


@ledger.task(name="enter_early", queue=LATER, acks_late=False)
def enter_early(cmd: Entry, ctx: Ctx) -> int:
    """The same, acknowledged before it runs, as Celery does by default."""
    return _enter(cmd, ctx)


@ledger.task(queue=COUNTED, reject_on_worker_lost=True)
def kill_its_child(cmd: Entry, ctx: Ctx) -> int:
    """Kill the process of its pool the first `number` times; a file tells how often it began."""
    write(ctx, "did")
    with Path(cmd.wait_for).open("a") as tally:
        tally.write("x")
    if Path(cmd.wait_for).stat().st_size <= cmd.number:
        os.kill(os.getpid(), signal.SIGKILL)
    return cmd.number


@ledger.task(queue=NOW, external=True)
def call_out(cmd: Entry, ctx: Ctx) -> str:
    """Do something outside of the database, and tell under which key."""
    return ctx.idempotency_key


@ledger.task(queue=NOW, soft_time_limit_s=0.5, time_limit_s=20)
def dawdle(cmd: Entry, ctx: Ctx) -> None:
    """Take longer than its soft limit."""
    write(ctx, "did")
    time.sleep(15)


@ledger.command
def at_once(cmd: Entry, ctx: Ctx) -> int:
    """A plain command beside: obeyed by the participant's own worker."""
    return os.getpid()


# A participant whose messages are signed and coded.
vault = CeleryParticipant(
    "vault",
    app,
    database=DATABASE,
    seal=Seal(keys=SigningKeys({"one": b"k" * 32}), codec=Reversed()),
)


@vault.task(queue=NOW)
def lock_up(cmd: Entry, ctx: Ctx) -> int:
    """Write an entry."""
    return _enter(cmd, ctx)


@vault.task(queue=NOW)
def take_out(cmd: Entry, ctx: Ctx) -> int:
    """Write an entry, too."""
    return _enter(cmd, ctx)
