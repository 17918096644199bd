"""The payment gateway of `examples/shop`, as its service calls it. The rest runs in `make examples`."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest
from django.test import override_settings

from amends.participants import BreakerOpen, BreakerState, Failed, Refused
from examples.shop.bank import DECLINED, Bank, open_bank
from examples.shop.payments import gateway


@pytest.fixture
def bank() -> Iterator[Bank]:
    """A gateway that listens, and our breaker for it, closed."""
    gateway.breaker.reset()
    with open_bank() as opened, override_settings(GATEWAY_URL=opened.url):
        yield opened
    gateway.breaker.reset()


def test_a_charge_stands_once_for_a_key_until_it_is_voided(bank: Bank) -> None:
    gateway.charge("4111", 100, key="a")
    gateway.charge("4111", 100, key="a")
    gateway.charge("4111", 30, key="b")
    assert gateway.total() == bank.total() == 130

    gateway.void(key="a")
    gateway.void(key="a")

    assert gateway.total() == 30


def test_a_key_that_was_voided_first_is_refused(bank: Bank) -> None:
    """B5: an undo may come before the charge that it undoes. Guard: `_void`."""
    gateway.void(key="a")

    with pytest.raises(Refused, match="voided"):
        gateway.charge("4111", 100, key="a")
    assert bank.total() == 0


def test_declined_cards_do_not_open_the_breaker(bank: Bank) -> None:
    for number in range(5):
        with pytest.raises(Refused, match="declined"):
            gateway.charge(DECLINED, 100, key=str(number))

    assert gateway.breaker.state is BreakerState.CLOSED


def test_the_breaker_opens_while_the_gateway_is_down_and_closes_again(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `@breaker` on `_ask`; without it the gateway would be called every time."""
    now = [0.0]
    monkeypatch.setattr(gateway.breaker, "_clock", lambda: now[0])
    bank.is_down = True
    for _ in range(3):
        with pytest.raises(Failed, match="503"):
            gateway.charge("4111", 100, key="a")
    with pytest.raises(BreakerOpen):
        gateway.charge("4111", 100, key="a")
    assert bank.turned_away == 3

    bank.is_down = False
    now[0] = 1.1
    gateway.charge("4111", 100, key="a")

    assert (gateway.breaker.state, bank.total()) == (BreakerState.CLOSED, 100)


def test_a_gateway_that_nobody_is_behind_is_a_failure_and_no_refusal(bank: Bank) -> None:
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), None) as closed,  # type: ignore[arg-type]
        override_settings(GATEWAY_URL=f"http://127.0.0.1:{closed.server_port}"),
    ):
        closed.server_close()

        with pytest.raises(Failed, match="cannot be reached"):
            gateway.charge("4111", 100, key="a")
