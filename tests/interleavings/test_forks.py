"""The SDK in servers that load a service once and then fork: exactly the right sagas exist (design 5, O2)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx
import pytest
from sqlalchemy import Engine, text

from amends.coordinator import Saga, step
from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port, tail
from amends.outbox.ports import Topology
from tests.interleavings.conftest import MakeDatabase, MakeTown
from tests.interleavings.services import Service
from tests.interleavings.shop import Shop
from tests.interleavings.town import Town
from tests.outbox.sending import arrived
from tests.waiting import DEADLINE_S, eventually

ROOT: Final = Path(__file__).parents[2]
PAY = Saga("pay", step("charge", to="payments", undo="refund"), version=1)
KEYS = "SELECT key FROM amends.saga WHERE status = 'completed'"


class Placed:
    """What a forking service has placed, carried away and carried out."""

    def __init__(self, town: Town, shop: Shop) -> None:
        self.town = town
        self.shop = shop
        self.environment = {
            **os.environ,
            "SERVICE_PREFIX": town.prefix,
            "SERVICE_DATABASE": shop.database.url.render_as_string(hide_password=False),
        }

    def is_exactly(self, keys: set[str]) -> None:
        """One completed saga per key, each with one message that told of it; nothing else, nothing left."""
        with self.shop.relaying():
            self.shop.drains()
        eventually(lambda: len(self.completed()) >= len(keys), what=f"{len(keys)} sagas to complete")
        assert sorted(self.completed()) == sorted(keys)
        assert self.town.world.value("SELECT count(*) FROM amends.saga") == len(keys)
        told = arrived(self.town.network, f"{self.town.prefix}.placed", len(keys))
        assert sorted(one.correlation_id for one in told) == sorted(keys)

    def completed(self) -> list[str]:
        """The keys of the completed sagas."""
        with self.town.world.database.connect() as connection:
            return list(connection.scalars(text(KEYS)))


@pytest.fixture
def placed(
    make_town: MakeTown, make_database: MakeDatabase, participant_template: str, participant_database: Engine
) -> Placed:
    """A town for a forking service."""
    town = make_town().start()
    town.world.register(PAY)
    town.add(Service("payments", {"charge": "refund"}, make_database(participant_template)))
    town.network.declare(Topology(queues=frozenset({f"{town.prefix}.placed"})))
    return Placed(town, Shop(participant_database, town.network, town.prefix))


@pytest.fixture
def gunicorn(placed: Placed, tmp_path: Path) -> Iterator[str]:
    """The URL of the service under `gunicorn --preload`, with three workers."""
    port, log = free_port(), tmp_path / "gunicorn.log"
    # In a file, for older releases ignore there what they do not know: a socket in the home directory.
    (tmp_path / "gunicorn.conf.py").write_text("control_socket_disable = True\n")
    options = ["--config", str(tmp_path / "gunicorn.conf.py"), "--bind", f"127.0.0.1:{port}"]
    process = Guarded(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--preload",
            "--workers",
            "3",
            *options,
            "tests.interleavings.preloaded:app",
        ],
        directory=ROOT,
        log=log,
        env=placed.environment,
    )
    process.start()
    url = f"http://127.0.0.1:{port}"
    try:
        yield eventually(lambda: answers(url) and url, what=f"gunicorn to listen: {tail(log)}") or ""
    finally:
        process.close()


def answers(url: str) -> bool:
    """Whether somebody listens there and places an order."""
    try:
        return httpx.get(f"{url}/?first", timeout=DEADLINE_S).status_code == 200
    except httpx.TransportError:
        return False


def test_workers_forked_off_a_preloaded_service_start_exactly_their_sagas(
    placed: Placed, gunicorn: str
) -> None:
    """Guard: `put` and `Client` hold no connection: all they have comes with the session, putting.py: put."""
    keys = [f"order-{number}" for number in range(30)]

    with ThreadPoolExecutor(8) as pool:
        processes = set(pool.map(lambda key: httpx.get(f"{gunicorn}/?{key}", timeout=DEADLINE_S).text, keys))

    assert len(processes) > 1, "one worker did it all"
    assert all(name.isdigit() for name in processes)
    placed.is_exactly({"the parent's", "first", *keys})


def test_children_forked_before_and_after_first_use_start_exactly_their_sagas(placed: Placed) -> None:
    """Forks of a fork too, by os.fork and by multiprocessing."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.interleavings.preloaded"],
        cwd=ROOT,
        env=placed.environment,
        timeout=DEADLINE_S,
        check=False,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stderr
    placed.is_exactly({"the parent's", "forked", "forked-child", "between", "multiprocessing", "after"})
