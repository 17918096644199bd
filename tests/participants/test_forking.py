"""What is made before a fork works in the children: `gunicorn --preload` and other forking servers."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from amends.db.engines import open_engine, transaction
from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port
from amends.db.tables.participant import outbox
from amends.demo.config import child_environment
from amends.outbox import wire
from amends.participants import Client
from tests.waiting import DEADLINE_S, eventually

ROOT = Path(__file__).parents[2]


def in_a_child(work: Callable[[], None]) -> int:
    """The exit status of a forked child that did this work."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def starts(engine: Engine) -> set[str]:
    """The sagas whose starts are in the outbox."""
    query = select(outbox.c.correlation_id).where(outbox.c.type == wire.START)
    with engine.connect() as connection:
        return set(connection.scalars(query))


def test_a_client_made_before_a_fork_starts_sagas_in_every_child(module_postgresql: Engine) -> None:
    client = Client(service="shop")
    url = module_postgresql.url.render_as_string(hide_password=False)
    with transaction(module_postgresql) as connection:
        before = client.start(connection, "place-order", {}, key="parent")

    def work(key: str) -> None:
        # A service's own engine must not share its connections either: it is made in the child.
        engine = open_engine(url)
        with transaction(engine) as connection:
            client.start(connection, "place-order", {}, key=key)

    statuses = [in_a_child(lambda key=key: work(key)) for key in ("a", "b")]  # type: ignore[misc]

    assert statuses == [0, 0]
    assert {before, wire.saga_id_of("place-order", "a"), wire.saga_id_of("place-order", "b")} <= starts(
        module_postgresql
    )


@pytest.fixture
def shop(module_postgresql: Engine, tmp_path: Path) -> Iterator[str]:
    """The URL of a shop under gunicorn, loaded before it forks its two workers."""
    port = free_port()
    process = Guarded(
        [
            *(sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", f"127.0.0.1:{port}"),
            "tests.participants.preloaded:application",
        ],
        directory=ROOT,
        log=tmp_path / "gunicorn.log",
        env=child_environment(
            SHOP_DATABASE_URL=module_postgresql.url.render_as_string(hide_password=False),
            PYTHONPATH=str(ROOT),
        ),
    )
    process.start()
    yield f"http://127.0.0.1:{port}"
    process.close()


def test_a_shop_under_gunicorn_preload_starts_sagas_from_its_workers(
    module_postgresql: Engine, shop: str
) -> None:
    def buy(key: str) -> tuple[str, str]:
        with urllib.request.urlopen(f"{shop}/{key}", timeout=DEADLINE_S) as answer:
            worker, saga = answer.read().decode().split()
            return worker, saga

    def first() -> tuple[str, str] | None:
        try:
            return buy("first")
        except OSError:
            return None

    bought = [eventually(first, what="gunicorn to answer"), *[buy(f"gunicorn-{n}") for n in range(20)]]

    assert {saga for _, saga in bought} <= starts(module_postgresql)
    assert os.getpid() not in {int(worker) for worker, _ in bought}
