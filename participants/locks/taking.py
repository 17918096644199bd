"""`ctx.lock(name)`: takes a lock in the handler's transaction, or lets the command wait its turn (L1 to L3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import Connection

from amends.outbox.wire import Command, Op
from amends.participants.errors import LockWanted, ParticipantError, Refused
from amends.participants.locks.rule import Claimant, Verdict, decide
from amends.participants.locks.store import LockStore, Standing

NAME_CHARS_MAX: Final = 200
LEASE_MS: Final = 30_000
_RETRY_FIRST_S: Final = 0.5
_RETRY_EACH_S: Final = 0.25
_RETRY_LONGEST_S: Final = 5.0
_TRIES: Final = 3


class Held(Protocol):
    """Where a handler's effects go."""

    locked: set[str]  # the sagas that have a lock by what this transaction did

    @property
    def connection(self) -> Connection:
        """The open connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is to be written once the handler is rolled back: that its saga waits."""

    name: str
    who: Claimant
    saga_name: str
    path: str


class HandlerLocks:
    """The locks of one run of one handler; its workspace is told of a saga that has one."""

    def __init__(self, store: LockStore, command: Command, workspace: Held, *, external: bool) -> None:
        self._store = store
        self._command = command
        self._workspace = workspace
        self._external = external
        self._who = Claimant(UUID(command.saga), command.started_at)

    def take(self, name: str, *, wait: bool) -> None:
        """Raises: LockWanted to wait, Refused, ParticipantError where no lock can be taken."""
        if not 0 < len(name) <= NAME_CHARS_MAX or "\0" in name:
            raise ParticipantError(
                f"a lock's name has 1 to {NAME_CHARS_MAX} characters and no NUL, not {name!r}"
            )
        if self._external:
            raise ParticipantError(
                f"lock {name!r}: an external handler has no transaction to take it in; take it in a step before"
            )
        connection, store = self._workspace.connection, self._store
        for _ in range(_TRIES):
            standing = store.standing(connection, name)
            verdict = self._decided(connection, standing, wait)
            if verdict is Verdict.OURS:
                self._workspace.locked.add(self._command.saga)
                return
            if self._command.op is not Op.DO:
                # An undo that is refused makes its saga stuck, and one that waits may wait for its own saga's prey.
                raise ParticipantError(
                    f"lock {name!r}: only a command takes a lock, and this saga does not have it; "
                    f"take it in the command that this {self._command.op} belongs to"
                )
            if verdict is not Verdict.TAKE:
                raise self._turned_down(name, standing, verdict)
            if store.take(connection, name, self._who, self._command.name, self._command.path):
                self._workspace.locked.add(self._command.saga)
                return
        raise self._turned_down(name, store.standing(connection, name), Verdict.WAIT)

    def _decided(self, connection: Connection, standing: Standing, wait: bool) -> Verdict:
        holder = standing.holder.claimant if standing.holder is not None else None
        ahead = [place.claimant for place in standing.ahead_of(self._who.saga)]
        free = holder is None and not ahead
        # Asked only where it matters: of a lock that it took here the coordinator may not know yet.
        # A saga that cannot turn back waits, whatever it holds: refused, it would be stuck at once.
        unknown = not (free or self._command.holds or self._command.settled) and wait
        holds = self._command.holds or (unknown and self._store.holds(connection, self._who.saga))
        return decide(self._who, holder, ahead, holds=holds, wait=wait)

    def _turned_down(self, name: str, standing: Standing, verdict: Verdict) -> Exception:
        holder = standing.holder
        whom = f"saga {holder.claimant.saga} ({holder.saga_name})" if holder else "those who came before"
        if verdict is Verdict.GIVE_WAY:
            return Refused(
                f"lock {name!r} is held by {whom}, which is older: waiting for it while holding locks "
                f"might never end (L2)"
            )
        if verdict is Verdict.REFUSE:
            return Refused(f"lock {name!r} is held by {whom}")
        ahead = len(standing.ahead_of(self._who.saga))
        place = Place(name=name, who=self._who, saga_name=self._command.name, path=self._command.path)
        after_s = min(_RETRY_FIRST_S + _RETRY_EACH_S * ahead, _RETRY_LONGEST_S)
        return LockWanted(f"waits for lock {name!r}, held by {whom}; {ahead} ahead", place, after_s)
