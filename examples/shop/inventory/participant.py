"""Is there some, and: put it aside."""

from __future__ import annotations

from django.db.models import F
from msgspec import Struct

from amends.participants import Participant, Refused
from examples.shop.inventory.models import Article, Reservation
from examples.shop.sagas import Order

inventory = Participant("inventory")


class Price(Struct, frozen=True):
    cents: int


@inventory.command
def validate(cmd: Order) -> Price:
    article = Article.objects.filter(sku=cmd.sku).first()
    if article is None:
        raise Refused(f"there is no {cmd.sku}")
    return Price(article.cents * cmd.pieces)


@inventory.command
def reserve(cmd: Order) -> Price:
    """One statement tests and takes: two orders cannot both have the last one."""
    there = Article.objects.filter(sku=cmd.sku, pieces__gte=cmd.pieces)
    if not there.update(pieces=F("pieces") - cmd.pieces):
        raise Refused(f"{cmd.sku} is sold out")
    article = Article.objects.get(sku=cmd.sku)
    Reservation.objects.create(order=cmd.number, article=article, pieces=cmd.pieces)
    return Price(article.cents * cmd.pieces)


@reserve.undo
def release(cmd: Order) -> None:
    Article.objects.filter(sku=cmd.sku).update(pieces=F("pieces") + cmd.pieces)
    Reservation.objects.get(order=cmd.number).delete()
