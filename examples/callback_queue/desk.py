"""Asks for numbers and does not wait: its callback workers take the answers, in processes of their own."""

from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.orm import Session

from amends.participants import Answer, Client, Ctx, Participant
from examples.callback_queue.servers import Number

desk = Participant("desk")

metadata = MetaData()
asked = Table(
    "asked",
    metadata,
    Column("call", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("answers", Integer, nullable=False, default=0),
    Column("result", Integer),
    Column("problem", Text),
)


def ask(client: Client, session: Session, n: int) -> None:
    """Ask for a Fibonacci number if, and only if, this transaction commits."""
    call = client.send(session, "fibonacci", "compute", Number(n), reply_to="desk")
    session.execute(asked.insert().values(call=call, n=n))


@desk.answer("compute", threads=2)
def computed(answer: Answer[int], ctx: Ctx) -> None:
    problem = None if answer.done else f"{answer.outcome}: {answer.reason}"
    ctx.connection.execute(
        asked.update()
        .where(asked.c.call == answer.call)
        .values(result=answer.result, problem=problem, answers=asked.c.answers + 1)
    )
