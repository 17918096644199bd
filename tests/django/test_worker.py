"""Handlers that use Django's ORM: what it writes is part of the worker's transaction (B1, B4)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from sqlalchemy import Engine

from amends.outbox import wire
from amends.outbox.wire import Outcome
from amends.participants import Ctx, Participant, Refused
from amends.participants.django import emit, start
from amends.participants.events.emitting import make_event
from tests.django.obeying import at_work, end_backend, one
from tests.django.project import databases, entry
from tests.django.shop.models import Order
from tests.participants.coordinator import again, command
from tests.waiting import eventually


def test_what_the_orm_writes_commits_with_the_barrier_and_once(postgresql: Engine) -> None:
    """B1. Seen to fail without `lending`: the order would stand alone, and the second attempt would be refused it."""

    def work(number: str, ctx: Ctx) -> str:
        xact = "SELECT pg_current_xact_id()::text"
        with connection.cursor() as cursor:
            cursor.execute(xact)
            (own,) = cursor.fetchone()
        assert own == ctx.connection.exec_driver_sql(xact).scalar_one()
        return number

    with at_work(one(work), postgresql) as service:
        first = service.coordinator.ask(sent := command("work", "1"))
        second = service.coordinator.ask(again(sent, attempt=2))

        assert (first.outcome, second.outcome) == (Outcome.DONE, Outcome.DONE)
        assert service.orders == ["1"]
        assert service.rows("SELECT op, outcome FROM amends_barrier") == [("do", "done")]


def test_a_refusal_undoes_what_the_orm_wrote(postgresql: Engine) -> None:
    def work(number: str, ctx: Ctx) -> None:
        with transaction.atomic():
            Order.objects.create(number="another")
        raise Refused("sold out")

    with at_work(one(work), postgresql) as service:
        reply = service.ask("work", "1")

        assert (reply.outcome, reply.reason) == (Outcome.REFUSED, "sold out")
        assert service.orders == []
        assert service.rows("SELECT op, outcome FROM amends_barrier") == [("do", "refused")]


def test_an_error_leaves_no_trace_and_the_next_attempt_none_of_the_first(postgresql: Engine) -> None:
    tries: list[str] = []

    def work(number: str, ctx: Ctx) -> None:
        tries.append(number)
        if len(tries) == 1:
            raise ZeroDivisionError

    with at_work(one(work), postgresql) as service:
        first = service.coordinator.ask(sent := command("work", "1"))
        assert (first.outcome, service.orders) == (Outcome.FAILED, [])

        second = service.coordinator.ask(again(sent, attempt=2))
        assert (second.outcome, service.orders) == (Outcome.DONE, ["1"])


def test_atomic_is_a_savepoint(postgresql: Engine) -> None:
    """Guard: `commit_on_exit`, without which the first block's end would count as the transaction's."""

    def work(number: str, ctx: Ctx) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            Order.objects.create(number="undone")
            Order.objects.create(number=number)
        with transaction.atomic(), transaction.atomic():
            Order.objects.create(number="kept")
        assert connection.in_atomic_block

    with at_work(one(work), postgresql) as service:
        assert service.ask("work", "1").outcome is Outcome.DONE
        assert service.orders == ["1", "kept"]


def test_a_saga_started_in_a_handler_starts_if_it_commits(postgresql: Engine) -> None:
    def work(number: str, ctx: Ctx) -> str:
        saga = start("next", {"order": number}, key=number)
        if number == "2":
            raise Refused("no")
        return saga

    with at_work(one(work), postgresql) as service:
        done = service.ask("work", "1")
        service.ask("work", "2")

        types = [row[0] for row in service.rows("SELECT type FROM amends_outbox WHERE needs_receipt")]
        assert types == [wire.START]
        assert done.outcome is Outcome.DONE


def test_values_are_djangos_in_any_time_zone(postgresql: Engine) -> None:
    """Guard: the session's time zone is set, and the adapters are Django's; else the moment moves."""
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)

    def work(number: str, ctx: Ctx) -> dict[str, Any]:
        Order.objects.create(number="values", placed_at=noon, lines=[{"sku": "a", "n": 2}])
        found = next(Order.objects.filter(number="values").iterator(chunk_size=1))
        return {"same": found.placed_at == noon, "lines": found.lines, "zone": str(found.placed_at.tzinfo)}

    with postgresql.begin() as opened:
        name = opened.exec_driver_sql("SELECT current_database()").scalar_one()
        opened.exec_driver_sql(f"ALTER DATABASE \"{name}\" SET TimeZone = 'Asia/Tokyo'")
    with at_work(one(work), postgresql) as service:
        reply = service.ask("work", "1")

        assert reply.outcome is Outcome.DONE, reply.reason
        assert b'"same":true' in bytes(reply.result).replace(b" ", b"")
        assert b'"sku":"a"' in bytes(reply.result).replace(b" ", b"")


def test_many_commands_share_threads_and_connections(postgresql: Engine) -> None:
    """Both sides number their prepared statements alike. Guard: `prepare_threshold`."""
    url = postgresql.url.render_as_string(hide_password=False)
    options = {"server_side_binding": True, "prepare_threshold": 0}
    with (
        databases(default={**entry(url), "OPTIONS": options}),
        at_work(one(lambda number, ctx: Order.objects.count()), postgresql, threads=2) as service,
    ):
        replies = [service.ask("work", str(number)) for number in range(30)]

        assert {reply.outcome for reply in replies} == {Outcome.DONE}
        assert len(service.orders) == 30


def test_commands_of_a_batch_use_the_orm_together(postgresql: Engine) -> None:
    """B7, also where one function obeys several at once."""
    participant = Participant("one")

    @participant.command
    def work(cmd: str) -> str:
        return several([cmd], [])[0]

    @work.together
    def several(cmds: list[str], ctxs: list[Ctx]) -> list[str]:
        Order.objects.bulk_create(Order(number=number) for number in cmds)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()::text")
            return [cursor.fetchone()[0]] * len(cmds)

    with at_work(participant, postgresql, batch=5, prefetch=5) as service:
        sent = [service.coordinator.send(command("work", str(number))) for number in range(20)]
        replies = [
            service.coordinator.await_reply(lambda reply, saga=one_.saga: reply.saga == saga) for one_ in sent
        ]

        assert {reply.outcome for reply in replies} == {Outcome.DONE}
        assert len(service.orders) == 20
        assert len({bytes(reply.result) for reply in replies}) < 20


def test_an_undo_uses_it_too(postgresql: Engine) -> None:
    participant = Participant("one")

    @participant.command
    def work(cmd: str) -> str:
        Order.objects.create(number=cmd)
        return cmd

    @work.undo
    def unwork(cmd: str, result: str) -> None:
        Order.objects.get(number=result).delete()

    with at_work(participant, postgresql) as service:
        assert service.coordinator.ask(sent := command("work", "1")).outcome is Outcome.DONE
        assert service.orders == ["1"]

        assert service.undo("unwork", sent).outcome is Outcome.DONE
        assert service.orders == []


def test_an_external_handler_gets_it_at_its_first_query(postgresql: Engine) -> None:
    """B5: called outside of any transaction, it records where its outcome is stored. Guard: lent at first use."""
    participant = Participant("one")
    open_outside: list[bool] = []

    @participant.command(external=True)
    def work(cmd: str, ctx: Ctx) -> str:
        open_outside.append(connections["default"].connection is not None)
        Order.objects.create(number=cmd)
        if cmd == "2":
            raise Refused("declined")
        return cmd

    with at_work(participant, postgresql) as service:
        assert service.ask("work", "1").outcome is Outcome.DONE
        assert service.ask("work", "2").outcome is Outcome.REFUSED

        assert open_outside == [False, False]
        assert service.orders == ["1"]


def test_a_lock_that_others_hold_is_not_held_against_the_command(postgresql: Engine) -> None:
    """B7, M3: unspent. Guard: Django's error is raised as SQLAlchemy's, by which the worker knows it."""
    Order.objects.create(number="held")

    def work(number: str, ctx: Ctx) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '20ms'")
        Order.objects.select_for_update().get(number="held")

    with at_work(one(work), postgresql) as service, transaction.atomic():
        Order.objects.select_for_update().get(number="held")

        reply = service.ask("work", "1")

        assert (reply.outcome, reply.spent) == (Outcome.FAILED, False)


def test_a_database_that_breaks_off_under_the_orm_sends_the_message_back(postgresql: Engine) -> None:
    """E5: no attempt is spent. Guard: `invalidate`, by which the worker learns what the ORM met."""
    tries: list[int] = []

    def work(number: str, ctx: Ctx) -> None:
        tries.append(1)
        if len(tries) == 1:
            end_backend(postgresql, connection.connection.info.backend_pid)
            Order.objects.count()

    with at_work(one(work), postgresql, relay=True) as service:
        assert service.ask("work", "1").outcome is Outcome.DONE
        assert (len(tries), service.orders) == (2, ["1"])


def test_outside_of_handlers_django_has_its_own_connection_again(postgresql: Engine) -> None:
    """Guard: `_take_back`; without it the thread's wrapper would still write into the worker's transactions."""
    left: list[Any] = []

    def work(number: str, ctx: Ctx) -> None:
        left.append((threading.current_thread(), connections["default"]))

    with at_work(one(work), postgresql) as service:
        service.ask("work", "1")

    ((_, wrapper),) = left
    assert (wrapper.connection, wrapper.in_atomic_block, wrapper.atomic_blocks) == (None, False, [])
    assert not {"connect", "commit", "rollback", "on_commit"} & set(vars(wrapper))


def test_a_handler_of_events_uses_it_too(postgresql: Engine) -> None:
    """Every copy but one changes nothing. Guards: `surrounded` of subscriptions; the barrier, which knows a copy."""
    participant = Participant("one")

    @participant.on("order.placed")
    def note(data: str) -> None:
        Order.objects.create(number=data)
        emit("order.noted", {"number": data})

    with at_work(participant, postgresql) as service:
        event = make_event("order.placed", "7", source="/elsewhere", id_="7", prefix=service.prefix)

        def heard() -> list[str]:
            service.coordinator.publish(event)
            return service.orders

        assert eventually(heard) == heard() == heard() == ["7"]
        last = make_event("order.placed", "8", source="/elsewhere", prefix=service.prefix)
        service.coordinator.publish(last)
        eventually(lambda: service.orders == ["7", "8"])
        assert service.rows("SELECT type FROM amends_outbox") == [("order.noted",)] * 2
