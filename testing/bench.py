"""One handler at a time with its barrier: sent, sent again, undone before it was sent.

    first = amends_participant.send(charge, Charge(card="4711", cents=500))
    assert first == done()
    assert amends_participant.redeliver(first) == first
    assert amends_participant.undo(first) == done()

Each command goes the way a worker's goes: payloads read, barrier row, handler, outcome, reply; what a worker would
answer is what comes back. Nothing is mended for the test, and nothing but the broker is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeAlias, cast
from uuid import uuid4

import msgspec
from sqlalchemy import Connection, update
from sqlalchemy.orm import Session, scoped_session

from amends.db.crashpoints import CRASH_POINTS, watched
from amends.db.tables.participant import barrier
from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.wire import Command, Op
from amends.participants.errors import InvalidHandler, InvalidPayload
from amends.participants.participant import CommandHandler, Participant
from amends.participants.payloads import PayloadReader, encode
from amends.testing.answers import Answer
from amends.testing.errors import NotServed, WrongAnswer
from amends.testing.happenings import length_of
from amends.testing.service import Service
from amends.testing.workplaces import Database, workplace

Handled: TypeAlias = "CommandHandler[..., Any]"


class Killed(BaseException):
    """The process is gone."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A command, and the participant that it is for."""

    participant: Participant
    command: Command


class ParticipantBench:
    """Handlers of any participants in one database. The fixture `amends_participant` is one on `amends_database`."""

    def __init__(
        self, database: Database, *, decorate: Callable[[Participant], Participant] | None = None
    ) -> None:
        """`decorate` makes of a participant the one whose handlers run, as an integration would."""
        self._database = database
        self._decorate = decorate or (lambda participant: participant)
        self._services: dict[tuple[int, int], tuple[object, Participant, Service]] = {}

    def on(self, database: Database) -> ParticipantBench:
        """The same on another engine, connection or session: such as what the project's own fixture gives."""
        return ParticipantBench(database, decorate=self._decorate)

    def command(
        self,
        handler: Handled,
        payload: Any = None,
        *,
        saga: str | None = None,
        saga_name: str = "test-saga",
        path: str | None = None,
        labels: Mapping[str, str] | None = None,
        age: str | float = 0,
    ) -> Letter:
        """A command that nobody has sent yet: of a new saga, unless one is named, which began `age` ago.

        Raises: NotServed for a function that is no command.
        """
        if not isinstance(cast(object, handler), CommandHandler):
            name = getattr(handler, "__name__", repr(handler))
            raise NotServed(
                f"{name} is no command: decorate it with @participant.command; what undoes one is run by undo(first)"
            )
        name = handler.handler.name
        command = Command(
            saga=saga or str(uuid4()),
            name=saga_name,
            path=path or name,
            op=Op.DO,
            command=name,
            round=1,
            attempt=1,
            args=msgspec.Raw(encode(payload)),
            started_at=int(time.time() * 1000) - length_of(age),
            labels=dict(labels or {}),
        )
        return Letter(handler.participant, command)

    def send(self, handler: Handled | Letter, payload: Any = None, **fields: Any) -> Answer:
        """Send a command to its handler; `fields` are those of `command`, which may also have made it before.

        Gives the answer, its result of the type that the handler says it returns. What a handler raises is answered as
        a worker does; only HandlerEndedTransaction is raised, since that is always wrong (B4).
        """
        letter = handler if isinstance(handler, Letter) else self.command(handler, payload, **fields)
        return self._obeyed(letter)

    def redeliver(self, first: Answer | Letter) -> Answer:
        """The very same message comes again."""
        return self._obeyed(_letter(first))

    def again(self, first: Answer | Letter, *, round: int | None = None) -> Answer:  # noqa: A002 - As on the wire.
        """The coordinator asks again; in a higher `round`, an operator's, what was refused is run anew (B1)."""
        letter = _letter(first)
        attempt = letter.command.attempt + 1
        return self._obeyed(_changed(letter, attempt=attempt, round=round or letter.command.round))

    def undo(self, first: Answer | Letter, *, name: str | None = None) -> Answer:
        """Undo it, or what was not sent yet (B2). `name` is the command's, where several undo it."""
        return self._beside(_letter(first), Op.UNDO, name)

    def confirm(self, first: Answer | Letter, *, name: str | None = None) -> Answer:
        """Confirm it (B3)."""
        return self._beside(_letter(first), Op.CONFIRM, name)

    def fence(self, first: Answer | Letter, *, closes: str | None = None) -> Answer:
        """Make sure that it never runs, or tell that it did; with `closes` its undo or its confirm (B3)."""
        closing = None if closes is None else Op(closes)
        return self._obeyed(_changed(_letter(first), op=Op.FENCE, closes=closing))

    def crash(self, first: Answer | Letter, *, at: str) -> None:
        """Send it to a worker that dies at a crash point (`amends.db.crashpoints`): what was not committed is gone.

        Raises: NotServed, naming those that this command passes, if it is none of them; ValueError for no such point.
        """
        if at not in CRASH_POINTS:
            raise ValueError(f"no crash point {at!r}; known: {', '.join(CRASH_POINTS)}")
        letter = _letter(first)
        passed: list[str] = []

        def dies(name: str) -> None:
            passed.append(name)
            if name == at:
                raise Killed

        service = self._service(letter.participant)
        with suppress(Killed), watched(dies):
            service.obey(letter.command)
        service.answers()  # What it had committed, a sweep has carried away.
        if at not in passed:
            raise NotServed(f"{letter.command.command!r} passes {', '.join(passed)}; not {at}")

    def advance(self, length: str | float) -> None:
        """So much time passes for the leases of external calls (B5)."""
        with workplace(self._database).transaction() as connection:
            end_leases(connection, length_of(length))

    @property
    def sent(self) -> list[Message]:
        """What stands in the outbox: what handlers, and the project's own code, have put. No answers."""
        return Service(Participant("anybody"), workplace(self._database)).outbox()

    def _beside(self, letter: Letter, op: Op, name: str | None) -> Answer:
        known = letter.participant.beside(op, letter.command.command)
        if name is None and len(known) == 1:
            name = known[0]
        if name not in known:
            mend = (
                f"{name!r} is none of them" if name else ("say name=" if known else f"write @....{op.value}")
            )
            raise NotServed(
                f"{letter.command.command} has {len(known)} handlers for {op.value} ({', '.join(known)}): {mend}"
            )
        return self._obeyed(_changed(letter, op=op, command=name))

    def _obeyed(self, letter: Letter) -> Answer:
        service = self._service(letter.participant)
        for message in service.obey(letter.command):
            reply = wire.decode(message.type, message.body)
            if isinstance(reply, wire.Reply):
                return answer_of(letter, reply)
        raise NotServed(f"{letter.command.command!r} was not answered")

    def _service(self, participant: Participant) -> Service:
        database = self._database
        if isinstance(database, scoped_session):
            database = database()
        at: object = database.connection() if isinstance(database, Session) else database
        standing = self._services.get((id(participant), id(at)))
        if standing is None:
            service = Service(self._decorate(participant), workplace(database))
            standing = self._services[id(participant), id(at)] = (at, participant, service)
        return standing[2]


def answer_of(letter: Letter, reply: wire.Reply) -> Answer:
    """A reply as the test speaks of it: its result of the type that the handler says it returns."""
    return Answer(
        outcome=reply.outcome.value,
        result=_result(letter, bytes(reply.result)),
        reason=reply.reason,
        certain=reply.certain,
        spent=reply.spent,
        retry_after_s=reply.retry_after_s,
        in_doubt=reply.in_doubt,
        letter=letter,
    )


def end_leases(connection: Connection, passed_ms: int) -> None:
    """Let so much time pass for the leases of external calls."""
    leased = connection.execute(barrier.select().where(barrier.c.leased_until.is_not(None))).all()
    for row in leased:
        one = (barrier.c.saga_id == row.saga_id, barrier.c.path == row.path, barrier.c.op == row.op)
        until = row.leased_until - timedelta(milliseconds=passed_ms)
        connection.execute(update(barrier).where(*one).values(leased_until=until))


def _result(letter: Letter, result: bytes) -> Any:
    handler = letter.participant.find(Op.DO, letter.command.command)
    declared = handler.signature.returns if handler is not None else Any
    if result in (b"", b"null") or declared in (Any, None):
        return msgspec.json.decode(result or b"null")
    try:
        return PayloadReader(declared).read(result)
    except (InvalidHandler, InvalidPayload):
        return msgspec.json.decode(result)


def _letter(first: Answer | Letter) -> Letter:
    if isinstance(first, Letter):
        return first
    if isinstance(first, Answer) and first.letter is not None:
        return first.letter
    raise WrongAnswer(f"{first!r} answers no command: give what `send` gave, or what `command` made")


def _changed(letter: Letter, **fields: Any) -> Letter:
    return replace(letter, command=msgspec.structs.replace(letter.command, **fields))
