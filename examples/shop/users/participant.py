"""The steps of onboarding that are the users' own, and the fraud check of orders."""

from __future__ import annotations

from msgspec import Struct

from amends.participants import Participant, Refused
from amends.participants.django import emit
from examples.shop.events import Person, Who, user_created, user_deleted
from examples.shop.sagas import Newcomer, Order
from examples.shop.users.models import Profile, Role, User

users = Participant("users")


class Assigned(Struct, frozen=True):
    text: str


class Customer(Struct, frozen=True):
    name: str


@users.command
def validate(cmd: Newcomer) -> None:
    if not cmd.name.strip():
        raise Refused("no name")


@users.command
def create_profile(cmd: Newcomer) -> None:
    Profile.objects.create(user=User.objects.get(email=cmd.email))


@create_profile.undo
def remove_profile(cmd: Newcomer) -> None:
    Profile.objects.get(user__email=cmd.email).delete()


@users.command
def assign_role(cmd: Newcomer) -> Assigned:
    if cmd.email.endswith("@example.org"):
        raise Refused("no role for this domain")
    Role.objects.create(user=User.objects.get(email=cmd.email), name="customer")
    return Assigned(f"{cmd.email} is a customer")


@assign_role.undo
def withdraw_role(cmd: Newcomer) -> None:
    Role.objects.get(user__email=cmd.email).delete()


@users.command
def activate(cmd: Newcomer) -> None:
    """From here on the user exists for all others: told in the transaction that makes it so."""
    User.objects.filter(email=cmd.email).update(active=True)
    emit(user_created, Person(cmd.email, cmd.name, cmd.country), key=cmd.email)


@activate.undo
def deactivate(cmd: Newcomer) -> None:
    User.objects.filter(email=cmd.email).update(active=False)
    emit(user_deleted, Who(cmd.email), key=cmd.email)


@users.command
def fraud(cmd: Order) -> Customer:
    user = User.objects.filter(email=cmd.email, active=True).first()
    if user is None:
        raise Refused(f"{cmd.email} is no customer of ours")
    return Customer(user.name)
