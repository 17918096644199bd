"""The services of a run of `crash_everywhere`: the author's own, with their handlers watched, and scripted others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import wraps
from typing import Any

import msgspec
from sqlalchemy import Connection

from amends.outbox import wire
from amends.outbox.wire import Op, Outcome
from amends.participants.errors import BreakerOpen, Failed, HandlerEndedTransaction
from amends.participants.participant import Handler, Participant
from amends.participants.payloads import encode
from amends.testing.answers import Answer, done
from amends.testing.bench import end_leases
from amends.testing.errors import NotServed
from amends.testing.memory import image
from amends.testing.outside import forbidden
from amends.testing.service import Service
from amends.testing.workplaces import Savepoints


class HandlerWrong(Exception):
    """A handler did what no handler may."""


class OwnServices:
    """The author's participants, each in a connection whose transaction is rolled back after the run."""

    def __init__(self, places: Mapping[Participant, Connection], outside: Sequence[object] = ()) -> None:
        self._outside = outside
        self._connections = {id(connection): connection for connection in places.values()}
        self._wrong: list[str] = []
        self._services = {
            participant.name: Service(
                participant.with_handlers(
                    lambda handler, of=participant: self._watched(handler, _may_call(of, handler)),  # type: ignore[misc]
                    lambda together: together,
                ),
                Savepoints(connection),
            )
            for participant, connection in places.items()
        }
        self._has_external = any(map(_external, places))

    def __contains__(self, participant: object) -> bool:
        return participant in self._services

    def obey(self, participant: str, command: wire.Command) -> list[wire.Reply]:
        """What is answered. Raises: HandlerWrong for what a handler may never do."""
        service = self._services[participant]
        what = f"{command.op} of {command.path}"
        try:
            messages = service.obey(command)
        except HandlerEndedTransaction as error:
            raise HandlerWrong(f"the handler for {what} ended the transaction: {error}") from error
        finally:
            wrong, self._wrong[:] = list(self._wrong), []
        if wrong:
            raise HandlerWrong(wrong[0])
        raised = service.raised
        if raised is not None and not isinstance(raised, Failed | BreakerOpen):
            raise HandlerWrong(
                f"the handler for {what} raised {type(raised).__qualname__}: {raised}"
            ) from raised
        return _replies(messages)

    def rest(self, participant: str) -> list[wire.Reply]:
        """What a service that died had committed; of one that is scripted nothing."""
        self._wrong.clear()
        return _replies(self._services[participant].answers()) if participant in self._services else []

    def advance(self, passed_ms: int) -> None:
        """Time passes for the leases of external calls."""
        if self._has_external and passed_ms:
            for connection in self._connections.values():
                end_leases(connection, passed_ms)

    def _watched(self, handler: Handler, may_call: bool) -> Handler:
        def around() -> Any:
            return nullcontext() if may_call else self._inside(handler)

        function = handler.function
        if handler.signature.is_async:

            @wraps(function)
            async def run_async(*values: Any) -> Any:
                with around():
                    return await function(*values)

            return replace(handler, function=run_async)

        @wraps(function)
        def run(*values: Any) -> Any:
            with around():
                return function(*values)

        return replace(handler, function=run)

    @contextmanager
    def _inside(self, handler: Handler) -> Iterator[None]:
        """What such a handler does is in its transaction, or nothing of it may be done."""
        seen: list[str] = []
        before = [image(one) for one in self._outside]
        try:
            with forbidden(seen):
                yield
        finally:
            who = f"the handler for {handler.op} {handler.name!r}"
            mend = "say external=True, so that it is called outside of any transaction, under a key (B5)"
            if seen:
                self._wrong.append(f"{who} calls outside ({seen[0]}); {mend}")
            for one, was in zip(self._outside, before, strict=True):
                if image(one) != was:
                    self._wrong.append(
                        f"{who} changes {type(one).__name__}, which no rollback takes back; {mend}"
                    )


class Scripted:
    """Services that are not the author's: they answer as they are told, and keep to the barrier's rules."""

    def __init__(self, answers: Mapping[str, Answer], known: Collection[str]) -> None:
        """Raises: NotServed for an answer to a step that there is not."""
        unknown = {path.partition("/")[0] for path in answers} - set(known)
        if unknown:
            raise NotServed(
                f"answers for {', '.join(sorted(unknown))}, but the steps are {', '.join(sorted(known))}"
            )
        self._answers = answers
        self._did: dict[str, Answer] = {}
        self._closed: set[str] = set()

    def obey(self, participant: str, command: wire.Command, said: Answer | None = None) -> wire.Reply:
        """What is answered; `said` is what this command is answered, if the rules leave that open."""
        answer = self._answer(command, said)
        return wire.Reply(
            saga=command.saga,
            path=command.path,
            op=command.op,
            round=command.round,
            attempt=command.attempt,
            outcome=Outcome(answer.outcome),
            participant=participant,
            result=msgspec.Raw(encode(answer.result)),
            reason=answer.reason,
            certain=answer.certain,
            spent=answer.spent,
            retry_after_s=answer.retry_after_s,
            closes=command.closes,
        )

    def _answer(self, command: wire.Command, said: Answer | None) -> Answer:
        path, did = command.path, self._did.get(command.path)
        if command.op is Op.DO:
            if path in self._closed:
                return Answer(outcome="refused", reason="undone or fenced")
            if did is None:
                name = path.partition("/")[0]
                did = said or self._answers.get(path, self._answers.get(name, done()))
                if did.outcome != "failed":
                    self._did[path] = did
            return did
        if command.op is Op.UNDO or command.closes is Op.UNDO:
            self._closed.add(path)
            if did is None or did.outcome != "done":
                return Answer(outcome="nothing")
            return said or done()
        if command.op is Op.FENCE and command.closes in (None, Op.DO):
            self._closed.add(path)
            return did or Answer(outcome="never")
        return said or done()


def _may_call(participant: Participant, handler: Handler) -> bool:
    """Whether it works outside: it says so, or it undoes or confirms what does, by its key (B5)."""
    if handler.op is Op.DO:
        return handler.external
    return any(handler.name in participant.beside(handler.op, name) for name in _external(participant))


def _external(participant: Participant) -> list[str]:
    """The commands that work outside."""
    found = [participant.find(Op.DO, name) for name in participant.names(Op.DO)]
    return [handler.name for handler in found if handler is not None and handler.external]


def _replies(messages: Sequence[Any]) -> list[wire.Reply]:
    decoded = [wire.decode(message.type, message.body) for message in messages]
    return [one for one in decoded if isinstance(one, wire.Reply)]
