"""What docs/django.md shows, run in a project: its settings, and a saga that starts with an order."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from sqlalchemy import Engine, text

from amends.outbox import wire
from amends.participants.django.settings import problems
from tests.django.shop.models import Order
from tests.docs.snippets import snippets

SETTINGS, START = (one.code for one in snippets("docs/django.md") if one.mark == "run by")


def run(code: str, **names: Any) -> dict[str, Any]:
    exec(compile(code, "docs/django.md", "exec"), names)
    return names


def test_the_settings_name_our_app_and_nothing_is_wrong_with_them() -> None:
    chosen = run(SETTINGS)

    assert AppConfig.create(chosen["INSTALLED_APPS"][-1]).label == "amends"
    assert list(problems(chosen["AMENDS"])) == []


def test_the_saga_starts_with_the_order(migrated: Engine) -> None:
    started = run(START, order=Order(number="7"))

    with migrated.connect() as connection:
        assert connection.execute(text("SELECT number FROM shop_order")).scalars().all() == ["7"]
        sent = connection.execute(text("SELECT type, correlation_id FROM amends_outbox")).all()
    assert [tuple(row) for row in sent] == [(wire.START, started["saga"])]
