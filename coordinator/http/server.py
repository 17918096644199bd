"""Serves the HTTP door from a thread of the coordinator's process."""

from __future__ import annotations

import logging
import socket
from threading import Event, Thread
from typing import Final

import uvicorn
from fastapi import FastAPI

from amends.coordinator.errors import CannotListen

log = logging.getLogger(__name__)

BACKLOG: Final = 2_048
STARTED_S: Final = 30.0
GRACE_S: Final = 5.0


class _Server(uvicorn.Server):
    """Tells when it listens, and lets long polls go before it waits for requests to end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self.listening = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; then tells."""
        await super().startup(sockets=sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer who waits with what is known now; then as uvicorn's."""
        self._app.state.door.waiting.close()
        await super().shutdown(sockets=sockets)


class HttpServer:
    """The door, open between `start` and `stop`. Signals are the process's business, not uvicorn's."""

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        self._host = host
        self._port = port
        config = uvicorn.Config(
            app,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=int(GRACE_S),
        )
        self._server = _Server(config, app)
        self._thread: Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where it listens, once started; with the port it got if 0 was asked for."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Bind, then serve in a thread. Returns when it listens. Raises: CannotListen."""
        self._socket = _bind(self._host, self._port)
        self._port = self._socket.getsockname()[1]
        self._thread = Thread(target=self._run, name="amends-http", daemon=True)
        self._thread.start()
        if not self._server.listening.wait(STARTED_S):
            raise CannotListen(self._host, self._port, "the HTTP server did not come up")
        log.info("http_listening", extra={"url": self.url})

    def stop(self) -> None:
        """Take no more requests, let those under way end (a few seconds at most), leave."""
        if self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(GRACE_S * 2)
        if self._socket is not None:
            self._socket.close()
        log.info("http_stopped")

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        try:
            # In a thread that is not the main one uvicorn leaves the signals alone.
            self._server.run(sockets=[self._socket] if self._socket is not None else None)
        except Exception as error:
            log.error("http_failed", extra={"error": type(error).__name__}, exc_info=error)
        finally:
            self._server.listening.set()


def _bind(host: str, port: int) -> socket.socket:
    """A listening address, bound here so that a failure is an error of the start and not of a thread."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(host, port, str(error)) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise CannotListen(host, port, error.strerror or str(error)) from error
    return bound
