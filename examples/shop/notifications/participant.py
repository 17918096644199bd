"""Write mails, send what was written, keep who wants which."""

from __future__ import annotations

from msgspec import Struct

from amends.participants import EventCtx, Participant
from examples.shop.events import Who, password_changed, user_deleted, user_logged_in
from examples.shop.notifications.models import Mail, Preference
from examples.shop.sagas import Newcomer

notifications = Participant("notifications")


class Text(Struct, frozen=True):
    to: str
    text: str


class Receipt(Struct, frozen=True):
    to: str
    order: str


class Books(Struct, frozen=True):
    ours: int
    gateways: int


@notifications.command
def write(cmd: Text) -> int:
    return int(Mail.objects.create(to=cmd.to, text=cmd.text).pk)


@write.undo
def discard(_cmd: Text, mail: int) -> None:
    Mail.objects.get(pk=mail, sent=False).delete()


@write.confirm
def send(_cmd: Text, mail: int) -> None:
    Mail.objects.filter(pk=mail).update(sent=True)


@notifications.command
def set_preferences(cmd: Newcomer) -> None:
    Preference.objects.create(email=cmd.email)


@set_preferences.undo
def drop_preferences(cmd: Newcomer) -> None:
    Preference.objects.get(email=cmd.email).delete()


@notifications.command
def receipt(cmd: Receipt) -> None:
    Mail.objects.create(to=cmd.to, text=f"{cmd.order} is on its way", sent=True)


@notifications.command
def report(cmd: Books) -> None:
    verdict = "agree" if cmd.ours == cmd.gateways else f"differ: {cmd.ours} and {cmd.gateways}"
    Mail.objects.create(to="admin", text=f"the books {verdict}", sent=True)


@notifications.on(user_logged_in, password_changed)
def warn(who: Who, ctx: EventCtx) -> None:
    Mail.objects.create(to=who.email, text=f"was this you: {ctx.type}?", sent=True)


@notifications.on(user_deleted)
def forget_preferences(who: Who) -> None:
    Preference.objects.filter(email=who.email).delete()
