"""`crash_everywhere`: the author's own handlers against every crash, every copy and every order of one saga's messages.

The machine that decides is the coordinator's, the barrier is the worker's, the database is real. First the saga runs
undisturbed; then it is turned back at every moment; then in each of these runs everything goes wrong that can, once: a
participant dies around its commit and loses its memory, a message comes twice, too late, never, or behind the next.

All of it happens inside a transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from amends.coordinator.language import Saga
from amends.participants.participant import Participant
from amends.testing.answers import Answer
from amends.testing.crash_trial import Outcome, Surroundings, Survived, Trial
from amends.testing.errors import NotServed
from amends.testing.story import Story
from amends.testing.workplaces import Database, Savepoints, workplace


def crash_everywhere(
    saga: Saga,
    input: Any = None,  # noqa: A002 - The word of the language.
    *,
    participants: Iterable[Participant] | Mapping[Participant, Database],
    database: Database | None = None,
    answers: Mapping[str, Answer] | None = None,
    check: Callable[[Outcome], None] | None = None,
    restores: bool = True,
    ignoring: Collection[str] = (),
    outside: Sequence[object] = (),
    runs_max: int | None = None,
) -> Survived:
    """Run the saga through everything that can go wrong once, with these participants' own handlers.

    They work on `database`, or each on its own: an engine, connection or session that holds their tables, what they
    need in them, and the tables of the SDK. What steps of other services answer is in `answers` (by default `done()`),
    and so are signals and children.

    After each run the saga has ended, and: where it completed, the tables hold what they hold after the undisturbed
    run; where it was compensated, what they held before (not with `restores=False`: for undos that leave a trace).
    `ignoring` are tables or `table.column`s that may differ. `check` is asked too; what it raises counts. A handler
    that is not `external=True` may call nothing outside, and change none of the `outside` objects, which outlive a
    crash; all else that handlers keep in memory is lost in one.

    With `runs_max` only so many runs, the simplest first. Raises: CrashFound, with the shortest run that shows it;
    NotServed.
    """
    told = dict(answers or {})
    with ExitStack() as stack:
        connections = _opened(_places(participants, database), stack)
        around = Surroundings(connections, ignoring, outside)
        try:
            return Trial(Story(saga, input), connections, told, check, restores, around).everything(runs_max)
        finally:
            around.put_back()


def _places(
    participants: Iterable[Participant] | Mapping[Participant, Database], database: Database | None
) -> dict[Participant, Database]:
    if isinstance(participants, Mapping):
        return dict(participants)
    if database is None:
        raise NotServed("say where the participants work: database=, or participants={participant: database}")
    return dict.fromkeys(participants, database)


def _opened(places: Mapping[Participant, Database], stack: ExitStack) -> dict[Participant, Connection]:
    """A connection for each database, in a transaction that is rolled back at the end, or is the caller's own."""
    opened: dict[int, Connection] = {}
    for database in places.values():
        if id(database) not in opened:
            opened[id(database)] = stack.enter_context(_connection(database))
    return {participant: opened[id(database)] for participant, database in places.items()}


@contextmanager
def _connection(database: Database) -> Iterator[Connection]:
    if isinstance(database, scoped_session):
        database = database()
    if isinstance(database, Session):
        database.flush()
        yield database.connection()
        database.expire_all()
        return
    place = workplace(database)
    if isinstance(place, Savepoints):
        yield place.guarded
        return
    with place.engine.connect() as connection, connection.begin() as outer:
        try:
            yield connection
        finally:
            outer.rollback()
