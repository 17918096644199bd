"""The service that emits: the event commits with the user, or not at all."""

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.orm import Session

from amends.participants import EventType, emit


class User(Struct):
    id: int
    name: str
    mail: str


user_created = EventType("user.created", User, version=2)


def sign_up(session: Session, user: User, *, prefix: str = "amends") -> str:
    session.execute(text("INSERT INTO member VALUES (:id, :name)"), {"id": user.id, "name": user.name})
    return emit(session, user_created, user, source="/users", key=f"user-{user.id}", prefix=prefix)
