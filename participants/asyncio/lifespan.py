"""Workers and a relay that live as long as an ASGI application does, in its process.

startup: check the tables --> start the threads --> serve
shutdown: serve no more --> finish the commands under way, hand back the rest --> end the threads

They are threads with connections of their own, begun in the process that serves: after the forks of gunicorn and in
each of uvicorn's workers. The event loop runs none of it, so a slow handler does not hold up a request.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sqlalchemy import URL, Engine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from amends.participants.config import ParticipantSettings
    from amends.participants.participant import Participant

# As Starlette, FastAPI and Litestar have it: called with the application, it gives what the application runs inside.
Within: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


class Companion(Protocol):
    """What runs beside the application: a worker, or a relay."""

    @property
    def name(self) -> str: ...
    @property
    def waits_for(self) -> tuple[str, ...]: ...
    def start(self) -> None: ...
    def stop(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether everything beside the application works now; `waits_for` says in words what does not."""

    ready: bool
    waits_for: tuple[str, ...] = ()


class Lifespan:
    """What `amends_lifespan` gives: the application's `lifespan=`, and what its health route asks."""

    def __init__(
        self,
        participants: tuple[Participant, ...],
        database: str | URL | Engine | AsyncEngine | None,
        broker: str | None,
        prefix: str | None,
        service: str | None,
        relay: bool,
        within: Within | None,
        settings: Mapping[str, Any],
    ) -> None:
        """No I/O, and nothing is read."""
        self._participants = participants
        self._database = database
        self._broker = broker
        self._prefix = prefix
        self._service = service
        self._relay = relay
        self._within = within
        self._settings = settings
        self._lock = threading.Lock()
        self._beside: _Beside | None = None

    @asynccontextmanager
    async def __call__(self, app: Any = None) -> AsyncIterator[Mapping[str, Any] | None]:
        """Run beside an application, inside its own lifespan. Gives what that one gives.

        A database or broker that is away is waited for, while the application serves.
        Raises: SchemaOutdated, naming the command, if the tables are missing; InvalidSetting, ValueError,
        UnsupportedDatabase, UnsupportedBroker; RuntimeError if it runs already.
        """
        async with AsyncExitStack() as own:
            # The application's own is around ours: handlers still need what it has opened while they finish.
            state = None if self._within is None else await own.enter_async_context(self._within(app))
            beside = _Beside()
            with self._lock:
                if self._beside is not None:
                    raise RuntimeError("this lifespan runs already; make another for another application")
                self._beside = beside
            try:
                await asyncio.to_thread(beside.start, self)
                yield state
            finally:
                # Whatever cancels us: what has been started is stopped.
                await asyncio.shield(asyncio.to_thread(self._stop, beside))

    def readiness(self) -> Readiness:
        """How it is now, without I/O: for a health route."""
        beside = self._beside
        waits_for = ("the application's start",) if beside is None else beside.waits_for()
        return Readiness(not waits_for, waits_for)

    def settings(self) -> ParticipantSettings:
        """What it runs with: as given, else as the environment says. Raises: InvalidSetting, UnsupportedDatabase."""
        from amends.participants.asyncio.databases import plain_url
        from amends.participants.config import participant_settings

        return participant_settings(
            database=None if self._database is None else plain_url(self._database),
            broker=self._broker,
            prefix=self._prefix,
            service=self._service,
        )

    def companions(self) -> list[Companion]:
        """What is to be run: workers, or without participants a relay. Raises: as `__call__`."""
        from amends.participants.asyncio.lone_relay import LoneRelay
        from amends.participants.metrics import outbox_metrics_in

        settings = self.settings()
        database = self._database if isinstance(self._database, Engine) else settings.database_url
        service = settings.service or (self._participants[0].name if self._participants else None)
        if self._participants:
            return [
                participant.worker(
                    database=database,
                    broker=settings.broker_url,
                    prefix=settings.prefix,
                    service=service,
                    seal=settings.seal,
                    outbox_observer=outbox_metrics_in(),
                    # One sweep of the table is enough for a process.
                    **{**self._settings, "relay": self._relay and number == 0},
                )
                for number, participant in enumerate(self._participants)
            ]
        if service is None:
            raise ValueError(
                "a lifespan without participants relays for a service: give it service=..., or set AMENDS_SERVICE"
            )
        return [
            LoneRelay(
                database,
                settings.broker_url,
                prefix=settings.prefix,
                service=service,
                observer=outbox_metrics_in(),
                seal=settings.seal,
            )
        ]

    def _stop(self, beside: _Beside) -> None:
        try:
            beside.stop()
        finally:
            self._beside = None


class _Beside:
    """The companions of one run. `start` and `stop` come from the executor's threads; one waits for the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = "starting"
        self._companions: list[Companion] = []

    def start(self, lifespan: Lifespan) -> None:
        with self._lock:
            if self._state == "shutting down":
                return  # It was cancelled before it began.
            for companion in lifespan.companions():
                companion.start()
                self._companions.append(companion)
            self._state = ""

    def stop(self) -> None:
        with self._lock:
            self._state = "shutting down"
            # Side by side: each may take its grace.
            stopping = [threading.Thread(target=companion.stop) for companion in self._companions]
            for thread in stopping:
                thread.start()
            for thread in stopping:
                thread.join()

    def waits_for(self) -> tuple[str, ...]:
        if self._state:
            return (f"the application is {self._state}",)
        return tuple(
            f"{companion.name}: {what}"
            for companion in tuple(self._companions)
            for what in companion.waits_for
        )


def amends_lifespan(
    *participants: Participant,
    database: str | URL | Engine | AsyncEngine | None = None,
    broker: str | None = None,
    prefix: str | None = None,
    service: str | None = None,
    relay: bool = True,
    within: Within | None = None,
    **settings: Any,
) -> Lifespan:
    """The `lifespan=` of an application that runs these participants' workers, and a relay, beside it.

        app = FastAPI(lifespan=amends_lifespan(payments, within=own_lifespan, threads=4))

    Without participants it is a relay alone, for a service that only starts sagas. With them `relay=False` leaves the
    sweep of the outbox to `amends relay`. `database` is a URL (asyncpg's too), an Engine or an AsyncEngine, of which
    only the URL counts; what is not given is read at startup from AMENDS_DATABASE_URL, AMENDS_BROKER_URL,
    AMENDS_PREFIX and AMENDS_SERVICE. `settings` are those of `WorkerSettings`; `grace_s` is how long handlers may
    finish at shutdown.

    Nothing happens before the application starts, but the settings are checked. Raises: ValueError, naming the one.
    """
    from amends.participants.worker.settings import WorkerSettings

    if WorkerSettings(**settings).processes > 1:
        raise ValueError("processes: the application's server makes them; run more of its workers")
    return Lifespan(participants, database, broker, prefix, service, relay, within, settings)
