"""What the users' service tells of its users. Others listen as they care; nobody is asked to."""

from __future__ import annotations

from msgspec import Struct

from amends.participants import EventType


class Person(Struct, frozen=True):
    """Version 2: version 1 had no country."""

    email: str
    name: str
    country: str


class Who(Struct, frozen=True):
    email: str


user_created = EventType("user.created", Person, version=2)
user_updated = EventType("user.updated", Person, version=2)
user_deleted = EventType("user.deleted", Who)
user_logged_in = EventType("user.login", Who)
password_changed = EventType("user.password_changed", Who)
