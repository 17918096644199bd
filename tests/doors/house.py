"""A whole coordinator with its HTTP door on a real socket, and short ways to ask it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from amends.coordinator import Saga, arg, chain, step
from amends.coordinator.gauges import read_gauges
from amends.coordinator.http.app import build_app
from amends.coordinator.http.limits import Limits
from amends.coordinator.http.server import HttpServer
from amends.coordinator.http.tokens import Tokens
from amends.coordinator.metrics import DatabaseGauges, exposition, new_registry
from amends.db.engines import open_engine
from tests.engine.world import World
from tests.waiting import DEADLINE_S, eventually

SECRETS = {role: f"secret-of-{role}" for role in ("read", "start", "apply", "operate")}
TOKENS = ",".join(f"{role}-token:{role}:{secret}" for role, secret in SECRETS.items())

ORDER_SCHEMA = {
    "type": "object",
    "properties": {"sku": {"type": "string"}, "amount": {"type": "integer"}},
    "required": ["sku", "amount"],
}
INPUT = {"sku": "tea", "amount": 300}


def order(version: int = 1, undo: str = "release") -> Saga:
    """A saga of two steps."""
    return Saga(
        "place-order",
        chain(
            step("reserve", to="inventory", undo=undo, args={"sku": arg.sku}),
            step("charge", to="payments", undo="refund", args={"amount": arg.amount}),
        ),
        version=version,
        input=ORDER_SCHEMA,
    )


@dataclass
class Said:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one line of standard output."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Its lines of standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Said]


class House:
    """A coordinator and its door. `http` has the token of `role`, or none."""

    def __init__(
        self,
        world: World,
        *,
        tokens: str = "",
        limits: Limits | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.world = world
        self.doors: Engine = open_engine(world.database.url, pool_max=4, label="doors")
        self.registry = registry if registry is not None else new_registry()
        engine = world.coordinator
        self.registry.register(
            DatabaseGauges(lambda: read_gauges(self.doors), broker_up=lambda: engine.status().broker_up)
        )
        self.app = build_app(
            engine,
            self.doors,
            Tokens.parse(tokens),
            scrape=lambda: exposition(self.registry),
            limits=limits,
        )
        self.server = HttpServer(self.app, host="127.0.0.1", port=0)
        self.server.start()
        self._lock = Lock()
        self._clients: dict[str | None, httpx.Client] = {}

    def http(self, role: str | None = None) -> httpx.Client:
        """A client with the token of this role."""
        with self._lock:
            if role not in self._clients:
                headers = {"Authorization": f"Bearer {SECRETS[role]}"} if role else {}
                self._clients[role] = httpx.Client(
                    base_url=self.server.url, headers=headers, timeout=DEADLINE_S
                )
            return self._clients[role]

    def start_saga(self, **fields: Any) -> str:
        """Start the order saga; its id."""
        answer = self.http().post("/sagas", json={"name": "place-order", "input": INPUT, **fields})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def ended(self, saga_id: str) -> dict[str, Any]:
        """The saga once it has ended."""
        answer = self.http().get(f"/sagas/{saga_id}", params={"wait": 20})
        assert answer.json()["ended_at"] is not None, answer.text
        return dict(answer.json())

    def stuck(self, saga_id: str) -> dict[str, Any]:
        """The saga once it is stuck."""

        def look() -> dict[str, Any] | None:
            saga = self.http().get(f"/sagas/{saga_id}").json()
            return dict(saga) if saga.get("status") == "stuck" else None

        return eventually(look, what="the saga to be stuck") or {}

    def close(self) -> None:
        """Close the door."""
        for client in self._clients.values():
            client.close()
        self.server.stop()
        self.doors.dispose()


def problem(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and field of an error; its shape is checked."""
    body = answer.json()
    assert set(body) == {"error", "message", "field"}, body
    assert body["message"]
    return answer.status_code, body["error"], body["field"]
