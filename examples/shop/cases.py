"""Who signs up and what is ordered: what goes through, and what fails at each place where something can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from examples.shop.bank import DECLINED

CUSTOMER: Final = "ann@example.com"
LEAVER: Final = "bob@example.com"
# How many events of the users each handler is to have heard, each once: two are created, one is updated, one deleted.
HEARD: Final = {
    "orders": {"on:forget_customer": 1, "on:keep_customer": 3},
    "shipping": {"on:forget_defaults": 1},
    "notifications": {"on:forget_preferences": 1, "on:warn": 2},
}
# Pieces, and cents each.
SHELVES: Final = {"tea": (200, 400), "pot": (3, 2_500), "gong": (5, 90_000)}


@dataclass(frozen=True, slots=True)
class Case:
    """What somebody asks for, and the word in the saga's error if it is to be amended."""

    asked: dict[str, Any]
    why: str | None = None

    @property
    def ends(self) -> str:
        """How its saga is to end."""
        return "completed" if self.why is None else "compensated"


def newcomer(email: str, **other: str) -> dict[str, Any]:
    return {"email": email, "name": email.partition("@")[0].title(), "country": "DE", **other}


def order(number: str, **other: Any) -> dict[str, Any]:
    return {
        "number": number,
        "email": CUSTOMER,
        "card": "4111",
        "sku": "tea",
        "pieces": 1,
        "street": "Quay 1",
        "country": "DE",
        **other,
    }


NEWCOMERS: Final = (
    Case(newcomer(CUSTOMER)),
    Case(newcomer(LEAVER, country="FR")),
    Case(newcomer("nobody@example.com", name=" "), "no name"),
    Case(newcomer("cat@example.org"), "no role"),
    Case(newcomer("dan@example.com", country="XX"), "nobody carries to XX"),
)
BAD_ORDERS: Final = (
    Case(order("unknown", sku="cup"), "there is no cup"),
    Case(order("too-far", country="XX"), "nobody carries to XX"),
    Case(order("declined", card=DECLINED), "card declined"),
    Case(order("sold-out", sku="pot", pieces=4), "pot is sold out"),
    Case(order("no-tax", country="AQ"), "no tax is known"),
    Case(order("no-number", street="Quay"), "has no number"),
    Case(order("stranger", email="dan@example.com"), "no customer"),
    Case(order("too-dear", sku="gong", pieces=2), "worth more"),
)


def good_orders(wave: str, count: int) -> Iterator[Case]:
    """Tea for one, so many times."""
    for number in range(1, count + 1):
        yield Case(order(f"{wave}-{number}", country="DE" if number % 2 else "FR"))
