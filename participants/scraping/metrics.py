"""A worker's door for monitors: /metrics, /healthz, /readyz on one port.

Several processes have a port each, in a row. With PROMETHEUS_MULTIPROC_DIR, an empty directory, they count into files
there, and the first of them tells the numbers of all, also of those that were killed.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from amends.outbox.metrics import OutboxGauges
from amends.participants.metrics import BreakerStates

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

Standing = Callable[[], Mapping[str, bool]]

_JSON: Final = ("Content-Type", "application/json")


def shared() -> bool:
    """Whether the processes of this program count together, in PROMETHEUS_MULTIPROC_DIR."""
    return values.ValueClass is not values.MutexValue


def port_of(first: int | None, number: int) -> int | None:
    """Where process `number` serves; None: nowhere. Counting together, only the first has a door."""
    if first is None or (shared() and number > 0):
        return None
    return first + number


def gone(pid: int) -> None:
    """A process of this program has ended: its live gauges are no more."""
    if shared():
        mark_process_dead(pid)  # type: ignore[no-untyped-call] # prometheus_client left it so.


@contextmanager
def served(
    port: int,
    gauges: OutboxGauges,
    standing: Standing = dict,
    *,
    host: str = "0.0.0.0",
    registry: CollectorRegistry = REGISTRY,
) -> Iterator[int]:
    """Serve a registry over HTTP, the service's own metrics in it too; gives the port, any free one for 0.

    `standing` says what is needed to work, and whether it is there: /readyz answers 503 unless all of it is.
    Raises: OSError if the port is taken.
    """
    told = _together(gauges) if shared() else registry
    server = make_server(host, port, _app(told, standing), server_class=_Server, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, name="amends-metrics", daemon=True)
    if told is registry:
        registry.register(gauges)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        if told is registry:
            registry.unregister(gauges)
        server.shutdown()
        server.server_close()
        thread.join()


def _together(gauges: OutboxGauges) -> CollectorRegistry:
    """What all processes have counted; the outbox and the breakers are seen by this one."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # prometheus_client left it so.
    registry.register(BreakerStates())
    registry.register(gauges)
    return registry


def _app(registry: CollectorRegistry, standing: Standing) -> Any:
    scrape = make_wsgi_app(registry)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/healthz":
            start_response("200 OK", [_JSON])
            return [b'{"status":"alive"}']
        if path == "/readyz":
            needed = dict(standing())
            ready = all(needed.values())
            start_response("200 OK" if ready else "503 Service Unavailable", [_JSON])
            words = {name: "up" if there else "away" for name, there in needed.items()}
            return [json.dumps({"status": "ready" if ready else "waiting", **words}).encode()]
        answer: Iterable[bytes] = scrape(environ, start_response)
        return answer

    return app


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """A scrape every few seconds is no news, and a client that says nothing is not waited for."""

    timeout = 10.0

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002 - As the standard library has it.
        return None
