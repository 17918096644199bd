"""The shop's processes: a coordinator, a worker for each service, a web server for those that people speak to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import Request, urlopen

from sqlalchemy import Engine, text

from amends.coordinator.queries import ended_among
from amends.db.engines import open_engine, transaction
from amends.db.guarded import Guarded
from amends.db.migrate import migrate
from amends.db.private_postgres import free_port, tail
from amends.outbox.broker import open_broker
from amends.outbox.ports import event_queue
from amends.participants import Client
from examples.servers import Servers

SERVICES: Final = ("users", "orders", "inventory", "payments", "shipping", "notifications")
WITH_PAGES: Final = ("users", "orders")
SAGAS: Final = ("place_order", "fulfil", "onboard", "reconcile")
SUBSCRIBERS: Final = (
    ("orders", "keep_customer"),
    ("orders", "forget_customer"),
    ("shipping", "forget_defaults"),
    ("notifications", "warn"),
    ("notifications", "forget_preferences"),
)
ROOT: Final = Path(__file__).parents[2]
READY_S: Final = 60.0


class Town:
    """All of them, each a process of its own, on a database of its own."""

    def __init__(self, at: Servers, gateway_url: str, directory: Path, stack: ExitStack) -> None:
        self._at = at
        self._directory = directory
        self._stack = stack
        self._gateway_url = gateway_url
        self._broker = open_broker(at.broker_url)
        stack.callback(self._broker.close)
        self.databases = {name: self._database() for name in SERVICES}
        self.coordinator = self._database()
        self._ports = {name: free_port() for name in ("coordinator", "payments", *WITH_PAGES)}
        self.client = Client("runner", prefix=at.prefix, url=self._url("coordinator"))
        self.workers = {
            name: self._process(name, f"{name}-worker", "amends_participant", *self._metrics(name))
            for name in SERVICES
        }
        self._running: list[Guarded] = []
        self._pages = [
            self._process(name, f"{name}-pages", "runserver", "--noreload", f"127.0.0.1:{self._ports[name]}")
            for name in WITH_PAGES
        ]
        applied = [word for name in SAGAS for word in ("--apply", f"examples.shop.sagas:{name}")]
        self._decider = self._guarded(
            "coordinator",
            [sys.executable, "-m", "amends.db.cli", "coordinator", *applied],
            AMENDS_DATABASE_URL=_url_of(self.coordinator),
            AMENDS_BROKER_URL=at.broker_url,
            AMENDS_PREFIX=at.prefix,
            AMENDS_HTTP_PORT=str(self._ports["coordinator"]),
        )

    def start(self) -> None:
        """Migrate every database, then start every process; returns when all can be spoken to."""
        with ThreadPoolExecutor() as several:
            list(several.map(self._migrate, SERVICES))
        migrate(self.coordinator, "coordinator")
        for process in (self._decider, *self.workers.values(), *self._pages):
            process.start()
            self._running.append(process)
        for name in self._ports:
            path = {"coordinator": "/readyz", "payments": "/metrics"}.get(name, f"/{name}")
            self.until(f"{name} answers", partial(_answers, self._url(name) + path))
        self.until("everybody listens", self._all_listen)

    def post(self, service: str, body: dict[str, Any]) -> str:
        """Ask a service's page for something; the saga that it has started."""
        return str(json.loads(self.ask(service, "POST", f"/{service}", body))["saga"])

    def ask(self, service: str, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """What a service's page answers. Raises: URLError."""
        request = Request(self._url(service) + path, json.dumps(body).encode(), method=method)
        with urlopen(request) as answer:
            said: bytes = answer.read()
            return said

    def breaker_state(self) -> int:
        """Of the payment gateway's: 0 closed, 1 half-open, 2 open."""
        with urlopen(self._url("payments") + "/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith('amends_breaker_state{breaker="gateway"}'):
                    return int(float(line.rpartition(" ")[2]))
        raise LookupError("the payments' worker tells of no breaker")

    def rows(self, service: str, statement: str) -> list[Any]:
        """What a query of a service's database finds: values if it asks for one column, else rows."""
        with transaction(self.databases[service]) as connection:
            found = connection.execute(text(statement)).all()
        return [row[0] if len(row) == 1 else tuple(row) for row in found]

    def ended(self, saga: str) -> bool:
        """Whether a saga has ended; one that the coordinator has not heard of has not."""
        return bool(ended_among(self.coordinator, [saga]))

    def until(self, what: str, holds: Callable[[], bool], limit_s: float = READY_S) -> None:
        """Wait until something holds. Raises: TimeoutError, with the ends of the logs."""
        deadline = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > deadline or not all(worker.alive() for worker in self.workers.values()):
                logs = "\n".join(
                    f"  {log.stem}: {tail(log)}" for log in sorted(self._directory.glob("*.log"))
                )
                raise TimeoutError(f"not within {limit_s:g} s: {what}; the logs end:\n{logs}")
            time.sleep(0.05)

    def _all_listen(self) -> bool:
        """Whether every subscriber has its queue, which collects from then on, whoever runs."""
        queues = [event_queue(self._at.prefix, *one) for one in SUBSCRIBERS]
        return all(
            state and state.consumers for state in self._broker.look(queues, timeout_s=READY_S).values()
        )

    def _database(self) -> Engine:
        engine = open_engine(self._at.database())
        self._stack.callback(engine.dispose)
        return engine

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def _metrics(self, name: str) -> list[str]:
        return ["--metrics-port", str(self._ports[name])] if name == "payments" else []

    def _migrate(self, service: str) -> None:
        command = [
            sys.executable,
            "-m",
            "examples.shop.manage",
            "migrate",
            "--run-syncdb",
            "--verbosity",
            "0",
        ]
        subprocess.run(command, cwd=ROOT, env={**os.environ, **self._settings(service)}, check=True)

    def _process(self, service: str, log: str, *arguments: str) -> Guarded:
        return self._guarded(
            log,
            [sys.executable, "-m", "examples.shop.manage", *arguments],
            **self._settings(service),
        )

    def _settings(self, service: str) -> dict[str, str]:
        return {
            "SHOP_SERVICE": service,
            "SHOP_DATABASE_URL": _url_of(self.databases[service]),
            "SHOP_BROKER_URL": self._at.broker_url,
            "SHOP_PREFIX": self._at.prefix,
            "SHOP_GATEWAY_URL": self._gateway_url,
        }

    def _guarded(self, log: str, argv: list[str], **environment: str) -> Guarded:
        process = Guarded(
            argv,
            directory=ROOT,
            log=self._directory / f"{log}.log",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        self._stack.callback(process.close)
        return process


@contextmanager
def town(at: Servers, gateway_url: str) -> Iterator[Town]:
    """All processes up, until the block ends, however it ends."""
    with tempfile.TemporaryDirectory(prefix="amends-shop-") as directory, ExitStack() as stack:
        made = Town(at, gateway_url, Path(directory), stack)
        made.start()
        yield made


def _url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def _answers(url: str) -> bool:
    try:
        urlopen(url).close()
    except URLError as error:
        return hasattr(error, "code")  # It has said no, so it is there.
    except OSError:
        return False
    return True
