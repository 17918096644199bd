"""A participant: which functions obey which commands. A registry without I/O and without configuration."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeAlias, TypeVar, overload

from amends.outbox.wire import NAME_CHARS_MAX, Op
from amends.participants.calls.answers import AnswerHandlers, make_answer_handler
from amends.participants.errors import InvalidHandler
from amends.participants.events.finishing import Finishers, make_finisher
from amends.participants.events.subscriptions import ATTEMPTS, Subscriptions, make_subscription
from amends.participants.events.versions import Newer
from amends.participants.limits import NO_LIMITS, Limits, read_limits
from amends.participants.signature import Signature, read_signature

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from amends.outbox.message import Message
    from amends.outbox.observer import OutboxObserver
    from amends.outbox.ports import Broker
    from amends.outbox.sealing import Seal
    from amends.participants.events.types import EventType
    from amends.participants.metrics import ParticipantMetrics
    from amends.participants.worker.inbound import Inbound
    from amends.participants.worker.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

# Names become parts of queue names.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


# Hands a command over to another program that obeys it there, behind the same barrier: the message that does so.
HandOver: TypeAlias = "Callable[[Inbound], Message]"


@dataclass(frozen=True, slots=True)
class Handler:
    """A function and the command it obeys: in the participant's own worker, or where `hand_over` sends it."""

    op: Op
    name: str
    function: Callable[..., Any]
    signature: Signature
    external: bool = False
    limits: Limits = NO_LIMITS
    hand_over: HandOver | None = None


# Obeys several new commands of one name at once: takes their payloads and their contexts, gives their results.
Together = Callable[[list[Any], list[Any]], Any]


class Participant:
    """One service as sagas see it: `Participant("payments")` is what a step's `to="payments"` means."""

    def __init__(self, name: str) -> None:
        """Raises: InvalidHandler for a name that cannot be part of a queue's."""
        self.name = _checked_name(name, "a participant")
        self._handlers: dict[tuple[Op, str], Handler] = {}
        self._beside: set[tuple[Op, str, str]] = set()
        self._together: dict[str, Together] = {}
        self.subscriptions = Subscriptions(self.name)
        self.answers = AnswerHandlers(self.name)
        self.finishers = Finishers(self.name)

    @overload
    def command(self, function: Callable[P, R], /) -> CommandHandler[P, R]: ...
    @overload
    def command(
        self,
        /,
        *,
        name: str | None = None,
        external: bool = False,
        concurrency: int | None = None,
        rate: str | None = None,
        soft_time_limit_s: float | None = None,
        time_limit_s: float | None = None,
        batch: int | None = None,
        payload_bytes_max: int | None = None,
    ) -> Callable[[Callable[P, R]], CommandHandler[P, R]]: ...
    def command(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        external: bool = False,
        concurrency: int | None = None,
        rate: str | None = None,
        soft_time_limit_s: float | None = None,
        time_limit_s: float | None = None,
        batch: int | None = None,
        payload_bytes_max: int | None = None,
    ) -> Any:
        """Let a function, plain or async, obey the command of its name, or of `name`.

        It takes the command, of the annotated type, and the context: `def charge(cmd: Charge, ctx: Ctx) -> Charged`.
        `external=True` says that its effect is outside this database: it is then called outside of any transaction,
        after a row that announces it (B5). The others are its limits in each worker process: see `Limits`; `rate` is
        written "5/s", "100/m" or "1000/h".

        Raises: InvalidHandler for a signature that cannot be served, a name that is taken, or limits that cannot work.
        """
        names = _local_names()
        limits = read_limits(
            f"a command of {self.name}" if name is None else f"command {name!r} of {self.name}",
            external=external,
            concurrency=concurrency,
            rate=rate,
            soft_time_limit_s=soft_time_limit_s,
            time_limit_s=time_limit_s,
            batch=batch,
            payload_bytes_max=payload_bytes_max,
        )

        def register(function: Callable[..., Any]) -> CommandHandler[..., Any]:
            handler = self._register(Op.DO, function, name, names, external=external, limits=limits)
            return CommandHandler(self, function, handler)

        return register if function is None else register(function)

    def on(
        self,
        *types: str | EventType,
        version: str | int | None = None,
        newer: Newer = "retry",
        name: str | None = None,
        threads: int = 1,
        attempts: int = ATTEMPTS,
    ) -> Callable[[F], F]:
        """Let a function, plain or async, hear of domain events: `def welcome(user: User, ctx: EventCtx) -> None`.

        `types` are event types or patterns of the topic exchange: `user.*`, `#`. Each such handler has a queue of its
        own, named after the function, or `name`, and `threads` of its own in every process. One that raises is tried
        again with growing pauses, and after `attempts` the event is dead-lettered; Refused drops it.

        `version` says which versions of the data it takes, `">=1,<3"`. Older events are passed over; `newer` says what
        becomes of newer ones: `retry` (until a newer process takes it, or the attempts are used up), `dead-letter`,
        `refuse` (dropped, and remembered) or `handle`.

        Raises: InvalidHandler for a signature, a pattern or a number that cannot be served, or a name that is taken.
        """
        names = _local_names()

        def register(function: F) -> F:
            chosen = _checked_name(
                name or str(getattr(function, "__name__", "")), f"an event handler of {self.name}"
            )
            self.subscriptions.add(
                make_subscription(
                    chosen,
                    function,
                    types,
                    version=version,
                    newer=newer,
                    threads=threads,
                    attempts=attempts,
                    names=names,
                )
            )
            return function

        return register

    def answer(
        self, command: str, *, of: str | None = None, threads: int = 1, attempts: int = ATTEMPTS
    ) -> Callable[[F], F]:
        """Let a function take the answers to calls that were sent with `reply_to=` this participant's name.

        `def added(answer: Answer[Sum], ctx: Ctx) -> None` gets those to the command `add`, of every participant or of
        `of`; each in a transaction that also remembers it. All such handlers share a queue, and as many threads as the
        one with the most wants. One that raises is tried again, `attempts` times, with growing pauses; then the answer
        is dead-lettered.

        Raises: InvalidHandler for a signature or a number that cannot be served, or answers that are taken already.
        """
        names = _local_names()

        def register(function: F) -> F:
            wanted = _checked_name(command, f"a command whose answers {self.name} takes")
            self.answers.add(
                make_answer_handler(function, wanted, of, threads=threads, attempts=attempts, names=names)
            )
            return function

        return register

    def finished(self, *sagas: str, name: str | None = None, attempts: int = ATTEMPTS) -> Callable[[F], F]:
        """Let a function hear that sagas have ended: `def placed(end: FinishedSaga, ctx: FinishedCtx) -> None`.

        `sagas` are their names; without any it hears of all that no other handler hears of. Told of are sagas whose
        start asked for it (`client.start(..., finished=True)`), rejected ones too, at least once, and heard of once.
        What it raises means the same as in a handler of events.

        Raises: InvalidHandler for a signature that cannot be served, or a saga that another handler hears of.
        """
        names = _local_names()

        def register(function: F) -> F:
            chosen = _checked_name(
                name or str(getattr(function, "__name__", "")), f"a handler of {self.name}"
            )
            self.finishers.add(make_finisher(chosen, function, sagas, attempts=attempts, names=names))
            return function

        return register

    def find(self, op: Op, name: str) -> Handler | None:
        """The handler of this op and name."""
        return self._handlers.get((op, name))

    def together(self, name: str) -> Together | None:
        """What obeys several new commands of this name at once, if there is such a function."""
        return self._together.get(name)

    def names(self, op: Op) -> tuple[str, ...]:
        """The names of this op's handlers, sorted."""
        return tuple(sorted(name for handler_op, name in self._handlers if handler_op is op))

    def handlers(self, op: Op) -> tuple[Handler, ...]:
        """This op's handlers, by name."""
        return tuple(self._handlers[op, name] for name in self.names(op))

    def beside(self, op: Op, command: str) -> tuple[str, ...]:
        """The names of the handlers that undo or confirm this command, sorted."""
        return tuple(sorted(name for one, name, of in self._beside if one is op and of == command))

    def with_handlers(
        self, handler: Callable[[Handler], Handler], together: Callable[[Together], Together]
    ) -> Participant:
        """A participant of this name with these handlers, each as `handler` or `together` makes it anew."""
        other = Participant(self.name)
        other._handlers = {key: handler(one) for key, one in self._handlers.items()}
        other._beside = set(self._beside)
        other._together = {name: together(function) for name, function in self._together.items()}
        other.subscriptions = self.subscriptions.with_handlers(handler)
        other.answers = self.answers.with_handlers(handler)
        other.finishers = self.finishers.with_handlers(handler)
        return other

    def worker(
        self,
        *,
        database: Engine | str,
        broker: Broker | str,
        prefix: str = "amends",
        service: str | None = None,
        metrics: ParticipantMetrics | None = None,
        outbox_observer: OutboxObserver | None = None,
        metrics_port: int | None = None,
        seal: Seal | None = None,
        **settings: Any,
    ) -> Worker:
        """A worker for this participant, on its database and a broker; `.run()` it, or `.start()` and `.stop()` it.

        `settings` are those of `WorkerSettings`: `threads=4, undo_threads=2, processes=1` and more. `service` names
        the queue for the receipts of this database's outbox; by default it is the participant's name. `metrics` and
        `outbox_observer` count; `metrics_port` is where `run` serves Prometheus's default registry. Where `broker`
        is a URL, `seal` signs and codes messages.

        Raises: ValueError for settings that cannot work, UnsupportedDatabase, UnsupportedBroker.
        """
        from amends.participants.worker.settings import WorkerSettings
        from amends.participants.worker.worker import Worker

        return Worker(
            self,
            database=database,
            broker=broker,
            prefix=prefix,
            service=service or self.name,
            settings=WorkerSettings(**settings),
            metrics=metrics,
            outbox_observer=outbox_observer,
            metrics_port=metrics_port,
            seal=seal,
        )

    def _register(
        self,
        op: Op,
        function: Callable[..., Any],
        name: str | None,
        names: Mapping[str, Any],
        *,
        external: bool = False,
        limits: Limits = NO_LIMITS,
        hand_over: HandOver | None = None,
    ) -> Handler:
        chosen = _checked_name(name or str(getattr(function, "__name__", "")), f"a handler of {self.name}")
        standing = self._handlers.get((op, chosen))
        if standing is not None and standing.function is not function:
            raise InvalidHandler(
                f"participant {self.name!r} already has a handler for {op} {chosen!r}; give one of them a name=..."
            )
        signature = read_signature(function, takes_result=op is not Op.DO, names=names)
        handler = Handler(op, chosen, function, signature, external, limits, hand_over)
        self._handlers[op, chosen] = handler
        return handler


class CommandHandler(Generic[P, R]):
    """What `@participant.command` makes of a function: still that function, and a place for its undo and confirm."""

    def __init__(self, participant: Participant, function: Callable[P, R], handler: Handler) -> None:
        self._participant = participant
        self._function = function
        self.handler = handler
        update_wrapper(self, function)

    @property
    def participant(self) -> Participant:
        """Whose command it is."""
        return self._participant

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, as a test may."""
        return self._function(*args, **kwargs)

    @overload
    def undo(self, function: F, /) -> F: ...
    @overload
    def undo(self, /, *, name: str | None = None) -> Callable[[F], F]: ...
    def undo(self, function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
        """Let a function undo this command: it takes (command, result, context), or the first of them.

        With `ctx.certain` False the result is None, and it is in doubt whether the command happened (B5).
        """
        return self._register(Op.UNDO, function, name, _local_names())

    @overload
    def confirm(self, function: F, /) -> F: ...
    @overload
    def confirm(self, /, *, name: str | None = None) -> Callable[[F], F]: ...
    def confirm(self, function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
        """Let a function confirm what this command tried: it takes (command, result, context)."""
        return self._register(Op.CONFIRM, function, name, _local_names())

    def together(self, function: F, /) -> F:
        """Let a function obey several of these commands at once, where a worker takes batches (B7).

        It takes a list of commands and a list of their contexts, and gives a list of results, in the same order:
        `def charge_all(cmds: list[Charge], ctxs: list[Ctx]) -> list[Charged]`. All of them share one transaction, any
        context's. If it raises, nothing has happened, and each is obeyed for itself, by the handler.

        Raises: InvalidHandler for an async function, for a second one, and where the handler is external.
        """
        name = self.handler.name
        if self.handler.external or inspect.iscoroutinefunction(inspect.unwrap(function)):
            raise InvalidHandler(f"{name}.together: neither async nor for an external handler")
        if self._participant._together.setdefault(name, function) is not function:
            raise InvalidHandler(f"{name}.together: the command has such a function already")
        return function

    def _register(
        self, op: Op, function: Callable[..., Any] | None, name: str | None, names: Mapping[str, Any]
    ) -> Any:
        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            added = self._participant._register(op, function, name, names)
            self._participant._beside.add((op, added.name, self.handler.name))
            return function

        return register if function is None else register(function)


def _local_names() -> Mapping[str, Any]:
    """The names that are local to where a decorator stands: annotations may use them."""
    return sys._getframe(2).f_locals


def _checked_name(name: str, what: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > NAME_CHARS_MAX:
        raise InvalidHandler(
            f"{name!r} cannot name {what}: up to {NAME_CHARS_MAX} letters, digits, - and _, not a digit first"
        )
    return name
