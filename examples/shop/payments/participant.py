"""Charge and refund by the gateway, whose effect no transaction of ours can undo; and tax."""

from __future__ import annotations

from django.db.models import Sum
from msgspec import Struct

from amends.participants import Ctx, Participant, Refused
from examples.shop.payments import gateway
from examples.shop.payments.models import Payment
from examples.shop.sagas import Order

payments = Participant("payments")
PERCENT = {"DE": 19, "FR": 20}


class Charge(Struct, frozen=True):
    order: str
    card: str
    goods: int
    shipping: int


class Charged(Struct, frozen=True):
    cents: int


class Tax(Struct, frozen=True):
    percent: int


class Books(Struct, frozen=True):
    ours: int
    gateways: int


@payments.command(external=True)
def charge(cmd: Charge, ctx: Ctx) -> Charged:
    """The gateway first, outside of any transaction; then the row, together with the answer."""
    cents = cmd.goods + cmd.shipping
    gateway.charge(cmd.card, cents, key=ctx.idempotency_key)
    Payment.objects.create(order=cmd.order, cents=cents)
    return Charged(cents)


@charge.undo
def refund(cmd: Charge, _charged: Charged | None, ctx: Ctx) -> None:
    """By the charge's own key, whether or not that happened: from now on the gateway refuses it."""
    gateway.void(key=ctx.do_idempotency_key)
    Payment.objects.filter(order=cmd.order).update(refunded=True)


@payments.command
def tax(cmd: Order) -> Tax:
    if cmd.country not in PERCENT:
        raise Refused(f"no tax is known for {cmd.country}")
    return Tax(PERCENT[cmd.country])


@payments.command(external=True)
def compare(_cmd: dict[str, str]) -> Books:
    """Every night: do our books say what the gateway's say?"""
    gateways = gateway.total()
    ours = Payment.objects.filter(refunded=False).aggregate(cents=Sum("cents"))["cents"]
    return Books(ours or 0, gateways)
