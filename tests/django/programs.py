"""A participant that tests run by `manage.py amends_participant`."""

from __future__ import annotations

from amends.participants import Participant, Refused

one = Participant("one")


@one.command
def work(cmd: str) -> str:
    """Create an order, but none with this number."""
    from tests.django.shop.models import Order

    Order.objects.create(number=cmd)
    if cmd == "13":
        raise Refused("unlucky")
    return cmd
