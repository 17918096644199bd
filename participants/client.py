"""The client: starts sagas in the caller's own transaction or over HTTP, looks at them, waits for their end.

    client = Client(service="shop")
    with Session(engine) as session, session.begin():
        session.add(order)
        client.start(session, place_order, order_input, key=order.number)

`start` only inserts a row: no thread, no connection, safe before and after forks. A relay of that database carries
it away, and keeps it until the coordinator has said that it has it (O1).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import coordinator_queue
from amends.participants.acts import Acts
from amends.participants.calls.calling import Calling
from amends.participants.door import Door
from amends.participants.errors import InvalidInput, StartConflict, UnknownSaga
from amends.participants.sagas import SagaView
from amends.participants.schedules import Schedules
from amends.participants.signals import make_signal
from amends.participants.starts import SagaOrName, make_start, trace_headers
from amends.participants.waiting import Waiting
from amends.participants.why import WhyView

if TYPE_CHECKING:
    from amends.outbox.ports import Broker
    from amends.outbox.putting import AsyncPutter, Putter
    from amends.participants.participant import Participant


class Client(Calling):
    """Starts sagas for one service, and calls participants. Threads and forks may share it.

    It holds no connection until the first `call`.
    """

    def __init__(
        self,
        service: str,
        *,
        prefix: str = "amends",
        broker: Broker | str | None = None,
        url: str | None = None,
        token: str | None = None,
        timeout_s: float = 10.0,
        retry_s: float = 10.0,
        participant: Participant | None = None,
    ) -> None:
        """`service` names who starts; give its relay the same name. `url` and `token` are the coordinator's door.

        `broker` is what `call` needs: a URL such as pyamqp://user:password@host, or a Broker.
        `participant` hears of the end of what this client starts, as far as it has handlers for that
        (`@participant.finished`).

        An HTTP request may take `timeout_s`; one that can be repeated safely is repeated for up to `retry_s` while
        the coordinator cannot be reached.
        """
        super().__init__(service, prefix=prefix, broker=broker)
        self._participant = participant
        self._door = None if url is None else Door(url, token, service, timeout_s=timeout_s, retry_s=retry_s)

    def start(
        self,
        session: Putter,
        saga: SagaOrName,
        input: Any,  # noqa: A002 - The word of the language.
        *,
        key: str | None = None,
        labels: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        finished: bool | str | None = None,
    ) -> str:
        """Start a saga if, and only if, the transaction open on `session` commits; gives its id at once.

        The same `key` of the same saga is the same saga. With other input the first one stays as it is; `wait` with
        that input tells. Without one the key is what the saga's definition makes of the input, if it says.
        A saga given by name starts in its active version and its input is checked later; if that definition makes a
        key, the saga has another id than this one, which then stands for it: `get`, `wait` and `signal` find it.
        `traceparent` is the W3C trace context that the saga's commands will carry; in a handler it is the command's own
        unless another is given.
        `finished` is the participant that is told when the saga has ended, or is rejected; True: the one of this
        service's name, or the client's own. By default the client's own, if it has a handler for that.

        Raises: InvalidInput before anything is stored; MessageTooLarge, UnsupportedSession, OutboxNotInstalled as
        `amends.outbox.put` does.
        """
        from amends.outbox import put

        start = make_start(saga, input, key, labels, finished=self._told(saga, finished))
        put(session, self._message(start, trace_headers(traceparent)))
        return start.saga

    async def astart(
        self,
        session: AsyncPutter,
        saga: SagaOrName,
        input: Any,  # noqa: A002 - The word of the language.
        *,
        key: str | None = None,
        labels: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        finished: bool | str | None = None,
    ) -> str:
        """As `start`, on an AsyncSession, an AsyncConnection or an async psycopg connection."""
        from amends.outbox import aput

        start = make_start(saga, input, key, labels, finished=self._told(saga, finished))
        await aput(session, self._message(start, trace_headers(traceparent)))
        return start.saga

    def start_http(
        self,
        saga: SagaOrName,
        input: Any,  # noqa: A002 - The word of the language.
        *,
        key: str | None = None,
        labels: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        finished: bool | str | None = None,
    ) -> str:
        """Start a saga over HTTP; gives its id once the coordinator has it.

        With a key, given or made by the Saga's definition, it is repeated, safely, while the coordinator cannot be
        reached. Without one, a CoordinatorUnavailable leaves open whether it started.

        Raises: InvalidInput; StartConflict if the key's saga has other input; SagaSuspended while no saga of that
        name begins; UnknownSaga for a name or version that is not registered; CoordinatorRefused,
        CoordinatorUnavailable.
        """
        start = make_start(saga, input, key, labels, finished=self._told(saga, finished))
        try:
            answer = self._http.ask("POST", "/sagas", **_posted(start, traceparent))
        except StartConflict as conflict:
            raise StartConflict(start.saga, str(conflict)) from None
        return msgspec.json.decode(answer, type=_Started).id

    async def astart_http(
        self,
        saga: SagaOrName,
        input: Any,  # noqa: A002 - The word of the language.
        *,
        key: str | None = None,
        labels: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        finished: bool | str | None = None,
    ) -> str:
        """As `start_http`, without blocking the event loop. Cancelled, it leaves open whether the saga started."""
        start = make_start(saga, input, key, labels, finished=self._told(saga, finished))
        try:
            answer = await self._http.aask("POST", "/sagas", **_posted(start, traceparent))
        except StartConflict as conflict:
            raise StartConflict(start.saga, str(conflict)) from None
        return msgspec.json.decode(answer, type=_Started).id

    def signal(
        self,
        session: Putter,
        saga_id: str,
        name: str,
        payload: Any = None,
        *,
        message_id: str | None = None,
    ) -> None:
        """Give a saga a signal if, and only if, the transaction open on `session` commits (S1).

        One that comes before its saga's start, or before the `wait` for it, is kept. Two with the same `message_id` are
        one. A name that the saga never waits for is told in the coordinator's log only.

        Raises: InvalidInput before anything is stored; UnsupportedSession, OutboxNotInstalled as `amends.outbox.put`
        does.
        """
        from amends.outbox import put

        put(session, self._signal(make_signal(saga_id, name, payload, message_id)))

    async def asignal(
        self,
        session: AsyncPutter,
        saga_id: str,
        name: str,
        payload: Any = None,
        *,
        message_id: str | None = None,
    ) -> None:
        """As `signal`, on an AsyncSession, an AsyncConnection or an async psycopg connection."""
        from amends.outbox import aput

        await aput(session, self._signal(make_signal(saga_id, name, payload, message_id)))

    def signal_http(
        self, saga_id: str, name: str, payload: Any = None, *, message_id: str | None = None
    ) -> str:
        """Give a saga a signal over HTTP, and learn what became of it: `accepted`, `kept` or `duplicate`.

        Repeated, safely, while the coordinator cannot be reached.

        Raises: InvalidInput; CoordinatorRefused for a name that the saga never waits for, and once it has ended;
        CoordinatorUnavailable.
        """
        signal = make_signal(saga_id, name, payload, message_id)
        answer = self._http.ask("POST", **_signalled(signal))
        return msgspec.json.decode(answer, type=_Signalled).outcome

    async def asignal_http(
        self, saga_id: str, name: str, payload: Any = None, *, message_id: str | None = None
    ) -> str:
        """As `signal_http`, without blocking the event loop."""
        signal = make_signal(saga_id, name, payload, message_id)
        answer = await self._http.aask("POST", **_signalled(signal))
        return msgspec.json.decode(answer, type=_Signalled).outcome

    def get(self, saga_id: str) -> SagaView:
        """How a saga stands. Raises: UnknownSaga, CoordinatorRefused, CoordinatorUnavailable."""
        return msgspec.json.decode(self._http.ask("GET", f"/sagas/{saga_id}"), type=SagaView)

    async def aget(self, saga_id: str) -> SagaView:
        """As `get`, without blocking the event loop."""
        return msgspec.json.decode(await self._http.aask("GET", f"/sagas/{saga_id}"), type=SagaView)

    def why(self, saga_id: str) -> WhyView:
        """What a saga waits for, what comes next, what an operator can do: as `amends why` says it.

        The broker is asked too, for some seconds at most. Raises: UnknownSaga, CoordinatorRefused,
        CoordinatorUnavailable.
        """
        return msgspec.json.decode(self._http.ask("GET", f"/sagas/{saga_id}/why"), type=WhyView)

    def wait(self, saga_id: str, timeout_s: float = 60.0, *, input: Any = ...) -> SagaView:  # noqa: A002 - See start.
        """Wait until a saga has ended: completed, compensated or rejected. Also for one that is still on its way.

        With `input` it also makes sure that the saga was started with that: another client may have used its key.

        Raises: WaitTimeout after `timeout_s` seconds; StartConflict; CoordinatorRefused; CoordinatorUnavailable if
        that lasts.
        """
        waiting = Waiting(saga_id, timeout_s, input)
        while True:
            try:
                answer = self._http.ask("GET", waiting.next(), longer_s=waiting.poll_s)
            except UnknownSaga:
                time.sleep(waiting.not_yet_s)
            else:
                view = waiting.ended(msgspec.json.decode(answer, type=SagaView))
                if view is not None:
                    return view
            waiting.raise_if_over()

    async def await_end(
        self,
        saga_id: str,
        timeout_s: float = 60.0,
        *,
        input: Any = ...,  # noqa: A002 - See start.
    ) -> SagaView:
        """As `wait`, without blocking the event loop: any number of tasks may wait, each with a connection."""
        waiting = Waiting(saga_id, timeout_s, input)
        while True:
            try:
                answer = await self._http.aask("GET", waiting.next(), longer_s=waiting.poll_s)
            except UnknownSaga:
                await asyncio.sleep(waiting.not_yet_s)
            else:
                view = waiting.ended(msgspec.json.decode(answer, type=SagaView))
                if view is not None:
                    return view
            waiting.raise_if_over()

    @property
    def acts(self) -> Acts:
        """An operator's acts: retry, edit, skip, force, compensate, finish. Needs `url` and a token that may."""
        return Acts(self._http)

    @property
    def schedules(self) -> Schedules:
        """Sagas by the clock: add, list, pause, resume, remove. Needs `url` and a token that may."""
        return Schedules(self._http)

    def _told(self, saga: SagaOrName, finished: bool | str | None) -> str | None:
        """The participant that is told of the end."""
        if finished is None:
            own = self._participant
            name = saga if isinstance(saga, str) else getattr(saga, "name", "")
            return own.name if own is not None and own.finishers.find(name) is not None else None
        if isinstance(finished, str):
            return finished
        if not finished:
            return None
        return self.service if self._participant is None else self._participant.name

    def _message(self, start: wire.Start, headers: Mapping[str, str]) -> Message:
        return Message(
            routing_key=coordinator_queue(self.prefix),
            type=wire.START,
            body=wire.encode(start),
            correlation_id=start.saga,
            headers=headers,
            needs_receipt=True,
        )

    def _signal(self, signal: wire.Signal) -> Message:
        return Message(
            routing_key=coordinator_queue(self.prefix),
            type=wire.SIGNAL,
            body=wire.encode(signal),
            correlation_id=signal.saga,
            needs_receipt=True,
        )

    @property
    def _http(self) -> Door:
        if self._door is None:
            raise InvalidInput(
                "this client has no coordinator to ask: give it url=..., such as http://127.0.0.1:8080"
            )
        return self._door


def _posted(start: wire.Start, traceparent: str | None) -> dict[str, Any]:
    """What a start is as a request; one with a key may be repeated."""
    body: dict[str, Any] = {"name": start.name, "input": start.input, "labels": start.labels}
    if start.key is not None:
        body["key"] = start.key
    if start.finished is not None:
        body["finished"] = start.finished
    if start.version is not None:
        body["version"] = start.version
    return {
        "body": msgspec.json.encode(body),
        "headers": trace_headers(traceparent),
        "repeatable": start.key is not None,
    }


def _signalled(signal: wire.Signal) -> dict[str, Any]:
    return {
        "path": f"/sagas/{signal.saga}/signals/{quote(signal.name)}",
        "body": bytes(signal.payload),
        "headers": {"Idempotency-Key": signal.id},
    }


class _Started(msgspec.Struct, frozen=True):
    id: str


class _Signalled(msgspec.Struct, frozen=True):
    outcome: str
