"""Outbox and barrier in Django's admin, as its pages show them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from sqlalchemy import Engine, text

from amends.outbox import put as put_message
from amends.outbox.message import Message
from tests.django.project import PASSWORD

OUTBOX = "/admin/amends/outboxmessage/"
BARRIER = "/admin/amends/barrierrow/"

LogIn = Callable[..., Browser]


@pytest.fixture
def log_in(migrated: Engine) -> LogIn:
    """Someone of the staff with these permissions."""

    def log_in(*permissions: str) -> Browser:
        user = User.objects.create_user("operator", password=PASSWORD, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        assert user.user_permissions.count() == len(permissions)
        browser = Browser()
        assert browser.login(username="operator", password=PASSWORD)
        return browser

    return log_in


def parked(engine: Engine, *, why: str | None = "too large", **fields: Any) -> int:
    """A message of the outbox, parked if there is a reason."""
    with engine.begin() as connection:
        row = put_message(
            connection, Message(routing_key="t.queue", type="order.placed", body=b'{"n": 1}', **fields)
        )
        if why is not None:
            connection.execute(
                text(
                    "UPDATE amends_outbox SET parked_at = created_at, last_error = :why, attempts = 3 WHERE id = :id"
                ),
                {"why": why, "id": row},
            )
    return row


def barrier_row(engine: Engine, saga: str, path: str, outcome: str) -> None:
    """What became of a do."""
    stored = saga if engine.dialect.name == "postgresql" else saga.replace("-", "")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, calls, args)"
                " VALUES (:saga, :path, 'do', 1, :outcome, true, false, '', 0, :args)"
            ),
            {"saga": stored, "path": path, "outcome": outcome, "args": b'{"card": "4711"}'},
        )


def standing(engine: Engine, row: int) -> tuple[bool, int, bool]:
    """Whether it is parked, how often it was tried, whether it is due."""
    now = "now()" if engine.dialect.name == "postgresql" else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    with engine.connect() as connection:
        found = connection.execute(
            text(
                f"SELECT parked_at IS NOT NULL, attempts, due_at <= {now} FROM amends_outbox WHERE id = :id"
            ),
            {"id": row},
        ).one()
    return bool(found[0]), int(found[1]), bool(found[2])


def page(browser: Browser, url: str) -> str:
    answer = browser.get(url)
    assert answer.status_code == 200, url
    return str(answer.content.decode())


def test_the_outbox_is_shown_with_what_is_wrong(migrated: Engine, log_in: LogIn) -> None:
    row = parked(migrated)
    parked(migrated, why=None)
    browser = log_in("view_outboxmessage")

    assert "too large" in page(browser, OUTBOX)
    assert "1 outbox message" in page(browser, f"{OUTBOX}?standing=parked")
    assert "1 outbox message" in page(browser, f"{OUTBOX}?standing=pending")
    assert "0 outbox messages" in page(browser, f"{OUTBOX}?standing=receipt")
    assert "{&quot;n&quot;: 1}" in page(browser, f"{OUTBOX}{row}/change/")


def test_nothing_can_be_added_changed_or_deleted(migrated: Engine, log_in: LogIn) -> None:
    """Not even by a superuser. Guard: ReadOnly."""
    row = parked(migrated)
    User.objects.create_superuser("root", password=PASSWORD)
    browser = Browser()
    browser.login(username="root", password=PASSWORD)

    assert browser.get(f"{OUTBOX}add/").status_code == 403
    assert browser.post(f"{OUTBOX}{row}/change/", {"type": "x"}).status_code == 403
    assert browser.post(f"{OUTBOX}{row}/delete/", {"post": "yes"}).status_code == 403
    browser.post(OUTBOX, {"action": "delete_selected", "_selected_action": [row], "post": "yes"})
    assert standing(migrated, row)[0]


def test_parked_messages_go_again(migrated: Engine, log_in: LogIn) -> None:
    """Those that were not parked are left alone. Guard: RETRY_PARKED's condition."""
    row, other, waiting = parked(migrated), parked(migrated), parked(migrated, why=None, delay_s=600)
    browser = log_in("view_outboxmessage", "retry_outboxmessage")

    answer = browser.post(OUTBOX, {"action": "retry", "_selected_action": [row, waiting]}, follow=True)

    assert "1 of 2 messages were parked" in answer.content.decode()
    assert standing(migrated, row) == (False, 0, True)
    assert standing(migrated, other) == (True, 3, True)
    assert standing(migrated, waiting) == (False, 0, False)


def test_who_may_only_look_cannot_retry(migrated: Engine, log_in: LogIn) -> None:
    """Guard: the action's permission."""
    row = parked(migrated)
    browser = log_in("view_outboxmessage")

    browser.post(OUTBOX, {"action": "retry", "_selected_action": [row]})

    assert standing(migrated, row)[0]


def test_rows_of_one_saga_have_pages_of_their_own(migrated: Engine, log_in: LogIn) -> None:
    """Django knows one column of the key. Guard: `url_for_result` and `get_object`, which take all three."""
    saga = str(uuid4())
    barrier_row(migrated, saga, "reserve/3", "done")
    barrier_row(migrated, saga, "charge", "refused")
    browser = log_in("view_barrierrow")

    listed = page(browser, BARRIER)

    for path, outcome in (("reserve_2F3", "done"), ("charge", "refused")):
        url = f"{BARRIER}{saga}_2Fdo_2F{path}/change/"
        assert url in listed
        shown = page(browser, url)
        assert f">{outcome}<" in shown
        assert "4711" in shown
    assert browser.get(f"{BARRIER}nonsense/change/").status_code == 302


def test_a_saga_is_found_by_its_id_and_the_whole_table_is_never_read_for_choices(
    migrated: Engine, log_in: LogIn
) -> None:
    """There may be millions of rows. Guards: the key in `get_search_results`, the filters with known choices."""
    saga, other = str(uuid4()), str(uuid4())
    barrier_row(migrated, saga, "charge", "refused")
    barrier_row(migrated, other, "charge", "done")
    barrier_row(migrated, other, "reserve", "done")
    browser = log_in("view_barrierrow")

    with CaptureQueriesContext(connections["default"]) as asked:
        assert "1 barrier row" in page(browser, f"{BARRIER}?q={saga}")
        assert "2 barrier rows" in page(browser, f"{BARRIER}?q=charge")
        assert "1 barrier row" in page(browser, f"{BARRIER}?op=do&outcome=refused")
        assert "0 barrier rows" in page(browser, f"{BARRIER}?op=undo")

    statements = [query["sql"] for query in asked if "amends_barrier" in query["sql"]]
    assert statements
    assert [sql for sql in statements if "DISTINCT" in sql] == []
    assert [sql for sql in statements if "COUNT(" in sql and "WHERE" not in sql] == []
