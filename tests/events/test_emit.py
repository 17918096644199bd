"""`emit` and the registration of handlers: what is refused, before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from msgspec import Struct
from sqlalchemy import Engine, func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from amends.db.engines import transaction
from amends.db.tables.participant import outbox
from amends.outbox.errors import MessageTooLarge
from amends.participants import EventCtx, EventType, InvalidHandler, InvalidInput, Participant, aemit, emit
from amends.participants.events.versions import Fit, read_versions


class User(Struct):
    """Somebody."""

    id: int


@dataclass
class Unknown:
    """Holds what no JSON holds."""

    what: object


user_created = EventType("user.created", User, version=3)


def stored(engine: Engine) -> int:
    """How many rows the outbox has."""
    with transaction(engine) as connection:
        return int(connection.execute(select(func.count()).select_from(outbox)).scalar_one())


@pytest.mark.parametrize(
    ("type_", "data", "more", "why"),
    [
        ("", 1, {}, "an event's type is words"),
        ("user.*", 1, {}, "an event's type is words"),
        ("user created", 1, {}, "an event's type is words"),
        (7, 1, {}, "is text"),
        ("user.created", object(), {}, "cannot be written as JSON"),
        ("user.created", {"a": Unknown(object())}, {}, "cannot be written as JSON"),
        (user_created, {"id": "x"}, {}, "data.id: expected `int`"),
        (user_created, {}, {}, "data.id: missing"),
        ("user.created", 1, {"version": -1}, "whole number from 0"),
        ("user.created", 1, {"version": True}, "whole number from 0"),
        ("user.created", 1, {"version": 2**31}, "whole number from 0"),
        ("user.created", 1, {"source": ""}, "source has 1 to 255"),
        ("user.created", 1, {"source": "/a\nb"}, "source has 1 to 255"),
        ("user.created", 1, {"key": ""}, "key has 1 to 255"),
        ("user.created", 1, {"key": "é" * 200}, "key has 1 to 255"),
        ("user.created", 1, {"key": "\ud800"}, "key has 1 to 255"),
        ("user.created", 1, {"id": "x" * 65}, "id has 1 to 64"),
        ("user.created", 1, {"subject": "a\0"}, "subject has 1 to 255"),
        ("user.created", 1, {"traceparent": "nonsense"}, "traceparent"),
    ],
)
def test_what_cannot_be_an_event_is_refused_before_it_is_stored(
    participant_database: Engine, type_: Any, data: Any, more: dict[str, Any], why: str
) -> None:
    with transaction(participant_database) as connection, pytest.raises(InvalidInput, match=why):
        emit(connection, type_, data, **{"source": "/users", **more})
    assert stored(participant_database) == 0


def test_an_event_too_large_for_a_message_is_refused_before_the_commit(participant_database: Engine) -> None:
    with transaction(participant_database) as connection, pytest.raises(MessageTooLarge):
        emit(connection, "user.created", "x" * 1_048_576, source="/users")
    assert stored(participant_database) == 0


def test_what_is_rolled_back_was_never_emitted(participant_database: Engine) -> None:
    with pytest.raises(ZeroDivisionError), transaction(participant_database) as connection:
        emit(connection, user_created, User(1), source="/users")
        raise ZeroDivisionError
    assert stored(participant_database) == 0


async def _emit_async(url: str) -> str:
    engine = create_async_engine(url)
    try:
        async with AsyncSession(engine) as session, session.begin():
            return await aemit(session, user_created, User(1), source="/users", key="user-1")
    finally:
        await engine.dispose()


def test_an_event_may_be_emitted_in_an_async_session(participant_database: Engine) -> None:
    import asyncio

    id_ = asyncio.run(_emit_async(participant_database.url.render_as_string(hide_password=False)))

    with transaction(participant_database) as connection:
        (row,) = connection.execute(select(outbox)).all()
    assert (row.message_id, row.routing_key, row.exchange) == (id_, "user.created", "amends.events")
    assert row.ordering_key == "user-1"
    assert b'"dataversion":3' in row.body


@pytest.mark.parametrize(
    ("types", "more", "why"),
    [
        ((), {}, "say which events"),
        (("user created",), {}, "a pattern is an event's type"),
        (("user.cre*",), {}, "a pattern is an event's type"),
        (("a",), {"newer": "ignore"}, "is none of retry, dead-letter, refuse, handle"),
        (("a",), {"version": "latest"}, "is no comparison"),
        (("a",), {"version": ">3,<3"}, "takes no version"),
        (("a",), {"threads": 0}, "threads must be 1 to 64"),
        (("a",), {"attempts": 0}, "attempts must be at least 1"),
        (("a",), {"name": "on a queue"}, "cannot name an event handler"),
    ],
)
def test_a_handler_that_cannot_be_served_is_told_at_once(
    types: tuple[str, ...], more: dict[str, Any], why: str
) -> None:
    def heard(data: Any, ctx: EventCtx) -> None: ...

    with pytest.raises(InvalidHandler, match=why):
        Participant("shop").on(*types, **more)(heard)


def test_two_handlers_of_one_name_are_refused() -> None:
    shop = Participant("shop")

    @shop.on("a")
    def heard(data: Any) -> None: ...

    def too_many(data: Any, other: int, ctx: EventCtx) -> None: ...

    with pytest.raises(InvalidHandler, match="already has an event handler 'heard'"):
        shop.on("b")(heard)
    with pytest.raises(InvalidHandler, match="nothing is known to give to parameter 'other'"):
        shop.on("b")(too_many)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (None, {0, 1, 2, 3, 9}),
        (2, {2}),
        ("2", {2}),
        (">=2", {2, 3, 9}),
        (">2", {3, 9}),
        ("<=2", {0, 1, 2}),
        (">=1, <3", {1, 2}),
        ("==3", {3}),
    ],
)
def test_a_range_of_versions_takes_what_it_says(text: str | int | None, taken: set[int]) -> None:
    versions = read_versions(text)

    assert {one for one in (0, 1, 2, 3, 9) if versions.fit(one) is Fit.TAKEN} == taken
    for one in {0, 1, 2, 3, 9} - taken:
        assert versions.fit(one) is (Fit.OLDER if one < min(taken) else Fit.NEWER)
