"""amends in a Django project.

Add "amends.participants.django" to INSTALLED_APPS, set AMENDS = {"SERVICE": "shop"}, run `manage.py migrate`:

    from amends.participants.django import start

    with transaction.atomic():
        order.save()
        start("place-order", {"order": order.number}, key=order.number)

Needs Django 4.2 or newer.
"""

from __future__ import annotations

from importlib.util import find_spec

from amends.db.errors import MissingExtra

if find_spec("django") is None:
    raise MissingExtra("amends.participants.django", "django")

from amends.participants.django.transactions import client, emit, put, signal, start

__all__ = ["client", "emit", "put", "signal", "start"]
