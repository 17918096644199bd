"""One project, six services: SHOP_SERVICE says which this process is, SHOP_DATABASE_URL which database is its own."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import make_url


def database(url: str) -> dict[str, Any]:
    """What a URL says, as Django writes it."""
    parsed = make_url(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parsed.database,
        "USER": parsed.username or "",
        "PASSWORD": parsed.password or "",
        "HOST": parsed.host or parsed.query.get("host", ""),
        "PORT": parsed.port or "",
    }


SERVICE = os.environ["SHOP_SERVICE"]

AMENDS = {
    "SERVICE": SERVICE,
    "PREFIX": os.environ.get("SHOP_PREFIX", "amends"),
    "BROKER_URL": os.environ.get("SHOP_BROKER_URL", "pyamqp://guest:guest@127.0.0.1:5672//"),
    "PARTICIPANT": f"examples.shop.{SERVICE}.participant:{SERVICE}",
}
INSTALLED_APPS = [f"examples.shop.{SERVICE}", "amends.participants.django"]

DATABASES = {"default": database(os.environ["SHOP_DATABASE_URL"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
GATEWAY_URL = os.environ.get("SHOP_GATEWAY_URL", "http://127.0.0.1:8000")
if SERVICE in ("users", "orders"):
    ROOT_URLCONF = f"examples.shop.{SERVICE}.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
SECRET_KEY = "of the example"
USE_TZ = True
