"""A participant whose commands are obeyed by Celery tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar, overload

from sqlalchemy import Engine

from amends.outbox.celery_messages import require_options
from amends.outbox.message import Message
from amends.outbox.sealing import Seal
from amends.outbox.wire import Op
from amends.participants.barrier.pruning import RETENTION_S
from amends.participants.celery.handing_over import handed_over, received
from amends.participants.celery.obeying import Obeying
from amends.participants.config import seal_from_environment
from amends.participants.errors import InvalidHandler
from amends.participants.limits import Limits, read_limits
from amends.participants.participant import CommandHandler, Participant
from amends.participants.worker.inbound import Inbound

P = ParamSpec("P")
R = TypeVar("R")

# RabbitMQ takes a message back from a consumer that has not acknowledged it for half an hour.
TIME_LIMIT_S_MAX: Final = 1_500.0


@dataclass(frozen=True, slots=True)
class TaskCommand:
    """How one command's task is called, and what it may take."""

    task: Any
    limits: Limits
    options: Mapping[str, Any]
    seal: Callable[[], Seal | None]

    def __call__(self, inbound: Inbound) -> Message:
        """The command as a call of its task."""
        return handed_over(self.task, inbound, self.options, self.seal())


class CeleryParticipant(Participant):
    """A participant whose own worker hands `do` commands over to tasks of a Celery app; the rest it obeys itself.

    The task passes the barrier, does its work and puts the reply into the outbox in one transaction of `database`, in
    the Celery worker. Undo, confirm and fence are obeyed by the participant's own worker (`amends participant`), which
    must work on the same database, and whose relay also sends the replies.
    """

    def __init__(
        self,
        name: str,
        app: Any,
        *,
        database: Engine | str | None = None,
        seal: Seal | None = None,
        retention_s: float = RETENTION_S,
        lock_timeout_s: float = 1.0,
    ) -> None:
        """`database` is what tasks work on: an engine or a URL, by default AMENDS_DATABASE_URL of the Celery worker.

        It is opened in the Celery worker, in each of its processes, at its first task. `seal` signs and codes what is
        handed over, and checks it there; by default it is what AMENDS_SIGNING_KEYS and AMENDS_CODEC say, in both.
        Raises: InvalidHandler.
        """
        super().__init__(name)
        self._app = app
        self._seal: list[Seal | None] = [] if seal is None else [seal]
        self._tasks: dict[str, TaskCommand] = {}
        self._obeying = Obeying(
            self, self._tasks, database, retention_s=retention_s, lock_timeout_s=lock_timeout_s
        )

    @overload
    def task(self, function: Callable[P, R], /) -> CommandHandler[P, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        task_name: str | None = None,
        external: bool = False,
        time_limit_s: float = 300.0,
        soft_time_limit_s: float | None = None,
        payload_bytes_max: int | None = None,
        acks_late: bool = True,
        reject_on_worker_lost: bool = False,
        **options: Any,
    ) -> Callable[[Callable[P, R]], CommandHandler[P, R]]: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        task_name: str | None = None,
        external: bool = False,
        time_limit_s: float = 300.0,
        soft_time_limit_s: float | None = None,
        payload_bytes_max: int | None = None,
        acks_late: bool = True,
        reject_on_worker_lost: bool = False,
        **options: Any,
    ) -> Any:
        """Let a function obey the command of its name in a Celery worker; it is written as for `command`.

        The Celery task is called `task_name`, by default `amends.<participant>.<command>`. `time_limit_s` is Celery's
        hard limit for it (its process is replaced), `soft_time_limit_s` raises in the handler: the attempt has failed.
        `acks_late` and `reject_on_worker_lost` are Celery's; whichever way, the barrier keeps the effect from
        happening twice, and the saga sends again what was lost. Nobody sends a `Client.send` again: if a child of the
        pool dies with one, it is lost, unless `reject_on_worker_lost`. That needs a quorum queue, which counts: on a
        classic one a task that kills its process comes again until it expires. `options` go with each call:
        `queue="slow"`, `priority=5`, `exchange`, `routing_key`, `headers`.

        Raises: InvalidHandler for a signature that cannot be served, a name that is taken, limits that cannot work;
        TypeError for options that no such call has.
        """
        names = _local_names()
        limits = read_limits(
            f"a task of {self.name}" if name is None else f"task {name!r} of {self.name}",
            external=external,
            concurrency=None,
            rate=None,
            soft_time_limit_s=soft_time_limit_s,
            time_limit_s=time_limit_s,
            batch=None,
            payload_bytes_max=payload_bytes_max,
        )
        require_options(options)
        if time_limit_s > TIME_LIMIT_S_MAX:
            raise InvalidHandler(
                f"a task of {self.name}: time_limit_s must be at most {TIME_LIMIT_S_MAX:g}, not {time_limit_s:g}: "
                f"RabbitMQ takes a message back after half an hour"
            )

        def register(function: Callable[..., Any]) -> CommandHandler[..., Any]:
            command = name or str(getattr(function, "__name__", ""))
            task = self._app.task(
                name=task_name or f"amends.{self.name}.{command}",
                bind=True,
                shared=False,
                acks_late=acks_late,
                reject_on_worker_lost=reject_on_worker_lost,
                ignore_result=True,
                serializer="json",
                max_retries=0,
                time_limit=time_limit_s,
                soft_time_limit=soft_time_limit_s,
            )(self._body())
            made = TaskCommand(task, limits, options, self._sealed)
            handler = self._register(Op.DO, function, name, names, external=external, hand_over=made)
            self._tasks[handler.name] = made
            return CommandHandler(self, function, handler)

        return register if function is None else register(function)

    def _body(self) -> Callable[..., None]:
        """What the Celery task does."""
        obeying = self._obeying

        def obey(task: Any, command: Any) -> None:
            obeying.obey(lambda: received(command, task, self._sealed()))

        return obey

    def _sealed(self) -> Seal | None:
        """Read from the environment once, at its first use. Raises: InvalidSetting."""
        if not self._seal:
            self._seal.append(seal_from_environment())
        return self._seal[0]


def _local_names() -> Mapping[str, Any]:
    """The names that are local to where a decorator stands: annotations may use them."""
    return sys._getframe(2).f_locals
