"""What can go wrong in the coordinator, outside the pure machine (its errors: `coordinator.saga.errors`).

CoordinatorError
+-- VersionConflict      a version is registered with other content; register the next version
+-- UnknownDefinition    no such saga, or no such version of it, is registered
+-- UnknownSaga          no saga has this id
+-- InvalidSchedule      a schedule that cannot be: names the field
+-- ScheduleStands       a schedule of this name stands with other content; remove it first
+-- UnknownSchedule      no schedule has this name
+-- NotAccepting         this coordinator takes no new work now (stopping or full); try another replica
+-- CannotListen         the HTTP door's address cannot be had; choose another
+-- NotLoadable          `module:saga` names no saga; says what is there
+-- Unreachable          (commands) no coordinator answers where AMENDS_URL points
+-- Declined             (commands) the coordinator answered with an error
"""

from __future__ import annotations

from collections.abc import Iterable


class CoordinatorError(Exception):
    """Any error of the coordinator."""


class VersionConflict(CoordinatorError):
    """A version, once registered, never changes its content."""

    def __init__(self, name: str, version: int, registered_hash: str, offered_hash: str) -> None:
        super().__init__(
            f"saga {name!r} version {version} is already registered with other content "
            f"(registered {registered_hash[:12]}, offered {offered_hash[:12]}); "
            f"running sagas are pinned to it: raise `version=` and apply again"
        )
        self.name = name
        self.version = version


class UnknownDefinition(CoordinatorError):
    """No such saga, or no such version of it, is registered."""

    def __init__(self, name: str, version: int | None, known: Iterable[str | int]) -> None:
        listed = ", ".join(str(one) for one in known) or "none"
        what = f"saga {name!r}" if version is None else f"version {version} of saga {name!r}"
        kind = "known sagas" if version is None else "known versions"
        super().__init__(
            f"no {what} is registered ({kind}: {listed}); register it with `amends apply module:saga`"
        )
        self.name = name
        self.version = version


class UnknownSaga(CoordinatorError):
    """No saga has this id."""

    def __init__(self, saga_id: str) -> None:
        super().__init__(
            f"no saga {saga_id} is known; its start may still be on its way, or it ended and was pruned: "
            f"look for it with `amends sagas list`"
        )
        self.saga_id = saga_id


class InvalidSchedule(CoordinatorError):
    """A schedule that cannot be; `field` is the part at fault."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class ScheduleStands(CoordinatorError):
    """A schedule's name is taken."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"a schedule {name!r} stands with other content, and goes on as it was; "
            f"remove it first (`amends schedule remove {name} --reason ...`), or choose another name"
        )


class UnknownSchedule(CoordinatorError):
    """No schedule has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no schedule {name!r} is known; `amends schedule list` shows all")


class NotAccepting(CoordinatorError):
    """This coordinator takes no new work now: it is stopping, or full. Nothing was stored."""


class CannotListen(CoordinatorError):
    """The HTTP door's address cannot be had."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(
            f"cannot listen on {host} port {port}: {why}; choose another with AMENDS_HTTP_HOST and AMENDS_HTTP_PORT"
        )


class NotLoadable(CoordinatorError):
    """`module:saga` names nothing that is a saga."""


class Unreachable(CoordinatorError):
    """No coordinator answers where AMENDS_URL points."""


class Declined(CoordinatorError):
    """The coordinator answered a command with an error; `code` and `field` are those of the answer."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
