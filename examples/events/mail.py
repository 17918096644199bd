"""The service that hears of it: each handler once for each event, in a transaction of this service's database."""

from sqlalchemy import text

from amends.participants import EventCtx, Participant, Refused
from examples.events.users import User

mail = Participant("mail")


@mail.on("user.created", version=">=2")
def welcome(user: User, ctx: EventCtx) -> None:
    if user.mail.endswith(".invalid"):
        raise Refused("nobody reads that")  # Dropped, and remembered: it does not come again.
    ctx.connection.execute(
        text("INSERT INTO letter (recipient, said) VALUES (:mail, :said)"),
        {"mail": user.mail, "said": f"Welcome, {user.name}"},
    )
    ctx.emit("letter.written", {"to": user.mail}, subject=ctx.id)


@mail.on("user.*", "letter.*", threads=2)
def count(ctx: EventCtx) -> None:
    ctx.connection.execute(
        text(
            "INSERT INTO heard (type, total) VALUES (:type, 1) ON CONFLICT (type) DO UPDATE SET total = heard.total + 1"
        ),
        {"type": ctx.type},
    )
