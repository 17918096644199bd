"""Settings of a Django service that tests run as a program of its own."""

from __future__ import annotations

import os

from tests.django.project import entry

AMENDS = {
    "SERVICE": "one",
    "PREFIX": os.environ["SHOP_PREFIX"],
    "BROKER_URL": os.environ["SHOP_BROKER_URL"],
    "PARTICIPANT": "tests.django.programs:one",
}
DATABASES = {"default": entry(os.environ["SHOP_DATABASE_URL"])}
INSTALLED_APPS = ["tests.django.shop", "amends.participants.django"]
SECRET_KEY = "of the tests"
USE_TZ = True
