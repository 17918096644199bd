"""A parent: it asks for work in the transaction that needs it, and hears of its end in one of its own."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from amends.participants import Client, FinishedCtx, FinishedSaga, Participant
from examples.child_tells_parent.saga import House, paint_house


def make_parent(name: str) -> Participant:
    parent = Participant(name)

    @parent.finished("paint-house")
    def painted(end: FinishedSaga, ctx: FinishedCtx) -> None:
        ctx.connection.execute(
            text("UPDATE house SET state = :state, told = told + 1 WHERE saga = :saga"),
            {"state": end.result["colour"] if end.completed else end.status, "saga": end.saga},
        )

    return parent


def ask(session: Session, parent: Participant, number: int, *, prefix: str = "amends") -> str:
    client = Client(parent.name, participant=parent, prefix=prefix)
    saga = client.start(session, paint_house, House(parent.name, number), key=f"{parent.name}-{number}")
    session.execute(
        text("INSERT INTO house VALUES (:number, :saga, 'asked', 0)"), {"number": number, "saga": saga}
    )
    return saga


north, south = make_parent("north"), make_parent("south")
