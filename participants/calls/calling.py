"""The part of a client that calls participants: `call` and `acall` wait for the answer, `send` and `asend` do not."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import TimeoutError as FutureTimeout
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from amends.outbox import wire
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.message import Message
from amends.outbox.ports import answers_queue
from amends.participants.calls.errors import CallExpired, CallFailed, CallRefused, CallTimeout
from amends.participants.calls.request import as_message, check_name, make_call
from amends.participants.errors import InvalidInput
from amends.participants.payloads import PayloadReader

if TYPE_CHECKING:
    from amends.outbox.ports import Broker
    from amends.outbox.putting import AsyncPutter, Putter
    from amends.participants.calls.switchboard import Switchboard, Waiting

TIMEOUT_S_MAX: Final = 86_400.0


class Calling:
    """Calls participants for one service. Threads may share it, and forks: each process connects for itself."""

    def __init__(self, service: str, *, prefix: str, broker: Broker | str | None) -> None:
        """No I/O. `broker` is needed to `call`, not to `send`."""
        self.service = service
        self.prefix = prefix
        self._broker = broker
        self._board: tuple[int, Switchboard] | None = None
        self._board_lock = threading.Lock()

    def call(
        self,
        participant: str,
        command: str,
        args: Any = None,
        *,
        timeout: float = 10.0,
        result: Any = Any,
        key: str | None = None,
    ) -> Any:
        """Let a participant obey a command, and give what its handler returns, as a `result` if a type is given.

        Waits up to `timeout` seconds. Whatever is lost on the way, it happens at most once. With a `key` it is the
        same call whenever this service makes it again, as long as the participant remembers: the first one's args
        count, and its answer is given again.

        Raises: CallRefused; CallFailed; CallTimeout, after which it may have happened; BrokerUnavailable, if the broker
        could not be asked in all that time; CallExpired; InvalidInput, MessageTooLarge before anything is sent;
        InvalidPayload for an answer that is no `result`.
        """
        reader = _reader(result)
        one = self._ask(participant, command, args, timeout, key)
        try:
            reply = one.answer.result(timeout)
        except FutureTimeout:
            raise _gave_up(one, f"{participant}.{command}", timeout) from None
        finally:
            self._forget(one)
        return _result(reply, f"{participant}.{command}", reader)

    async def acall(
        self,
        participant: str,
        command: str,
        args: Any = None,
        *,
        timeout: float = 10.0,
        result: Any = Any,
        key: str | None = None,
    ) -> Any:
        """As `call`, without blocking the event loop."""
        reader = _reader(result)
        one = self._ask(participant, command, args, timeout, key)
        try:
            reply = await asyncio.wait_for(asyncio.wrap_future(one.answer), timeout)
        except TimeoutError:
            raise _gave_up(one, f"{participant}.{command}", timeout) from None
        finally:
            self._forget(one)
        return _result(reply, f"{participant}.{command}", reader)

    def send(
        self,
        session: Putter,
        participant: str,
        command: str,
        args: Any = None,
        *,
        reply_to: str,
        key: str | None = None,
        expires_s: float | None = None,
    ) -> str:
        """Let a participant obey a command if, and only if, the transaction open on `session` commits.

        Gives the call's id at once. The answer goes to `@participant.answer` of the service `reply_to`, in another
        process: at least once, deduplicated there. After `expires_s` seconds in the participant's queue it is dropped,
        and never answered. `key` as in `call`.

        Raises: InvalidInput before anything is stored; MessageTooLarge, UnsupportedSession, OutboxNotInstalled as
        `amends.outbox.put` does.
        """
        from amends.outbox import put

        message = self._sent(participant, command, args, reply_to, key, expires_s)
        put(session, message)
        return str(message.correlation_id)

    async def asend(
        self,
        session: AsyncPutter,
        participant: str,
        command: str,
        args: Any = None,
        *,
        reply_to: str,
        key: str | None = None,
        expires_s: float | None = None,
    ) -> str:
        """As `send`, on an AsyncSession, an AsyncConnection or an async psycopg connection."""
        from amends.outbox import aput

        message = self._sent(participant, command, args, reply_to, key, expires_s)
        await aput(session, message)
        return str(message.correlation_id)

    def close(self) -> None:
        """Leave the broker. Calls under way end with BrokerUnavailable; another call would connect again."""
        with self._board_lock:
            board, self._board = self._board, None
        if board is not None and board[0] == os.getpid():
            board[1].close()

    def _sent(
        self,
        participant: str,
        command: str,
        args: Any,
        reply_to: str,
        key: str | None,
        expires_s: float | None,
    ) -> Message:
        if expires_s is not None and not 0 < expires_s <= TIMEOUT_S_MAX:
            raise InvalidInput(f"expires_s is more than 0 and at most {TIMEOUT_S_MAX:g}, not {expires_s:g}")
        call = make_call(self.service, participant, command, args, key, deadline_s=expires_s)
        check_name("the service in reply_to", reply_to)
        return as_message(
            call,
            participant,
            self.prefix,
            reply_to=answers_queue(self.prefix, reply_to),
            answer=wire.ANSWER_DURABLE,
            expires_s=expires_s,
        )

    def _ask(self, participant: str, command: str, args: Any, timeout_s: float, key: str | None) -> Waiting:
        if not 0 < timeout_s <= TIMEOUT_S_MAX:
            raise InvalidInput(f"timeout is more than 0 and at most {TIMEOUT_S_MAX:g} s, not {timeout_s:g}")
        call = make_call(self.service, participant, command, args, key, deadline_s=timeout_s)
        message = as_message(
            call, participant, self.prefix, reply_to="", answer=wire.ANSWER_OPTIONAL, expires_s=timeout_s
        )
        return self._switchboard().ask(call, message, timeout_s)

    def _forget(self, one: Waiting) -> None:
        board = self._board
        if board is not None:
            board[1].forget(one)

    def _switchboard(self) -> Switchboard:
        from amends.participants.calls.switchboard import Switchboard

        with self._board_lock:
            # A parent's threads and connections are not a forked child's.
            if self._board is None or self._board[0] != os.getpid():
                self._board = os.getpid(), Switchboard(self._opened(), f"{self.prefix}.calls.{self.service}")
            return self._board[1]

    def _opened(self) -> Broker:
        from amends.outbox.broker import open_broker

        if self._broker is None:
            raise InvalidInput("this client has no broker to call over: give it broker=..., a URL")
        if isinstance(self._broker, str):
            self._broker = open_broker(self._broker, name=f"amends calls of {self.service}")
        return self._broker


@lru_cache(maxsize=256)
def _reader(result: Any) -> PayloadReader:
    return PayloadReader(result)


def _gave_up(one: Waiting, what: str, timeout_s: float) -> Exception:
    if one.failed is not None:
        return CallFailed(one.call.saga, what, one.failed.reason, one.failed.retry_after_s)
    if one.confirmed:
        return CallTimeout(
            one.call.saga, what, f"no answer in {timeout_s:g} s; it may have happened, or may be about to"
        )
    if one.problem.startswith("the broker has no way to it"):
        return CallTimeout(
            one.call.saga, what, f"not delivered in {timeout_s:g} s: {one.problem}; does it run?"
        )
    return BrokerUnavailable(f"{what}: not confirmed by the broker in {timeout_s:g} s: {one.problem}")


def _result(reply: wire.Reply, what: str, reader: PayloadReader) -> Any:
    match reply.outcome:
        case wire.Outcome.DONE:
            return reader.read(reply.result)
        case wire.Outcome.REFUSED:
            raise CallRefused(reply.saga, what, reply.reason, certain=reply.certain)
        case wire.Outcome.FAILED:
            raise CallFailed(reply.saga, what, reply.reason, reply.retry_after_s)
        case _:
            raise CallExpired(reply.saga, what, f"{reply.outcome.value}: {reply.reason}")
