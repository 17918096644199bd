"""Many calls at once over one mailbox: who waits for which answer.

caller: ask --> due --publisher's thread--> on the wire --> participant
   ^                                                            |
   +---- future <--- receiver's thread <--- mailbox <-----------+

When the mailbox's connection breaks, its queue is gone with what was in it: every call that still waits is sent once
more, under the same id, to be answered to the new queue. The participant's barrier gives the answer it gave before. A
failure that is unspent (a lock, an open breaker, an unknown command) says "not now": the call is sent again if there is
time for that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import msgspec

from amends.outbox import wire
from amends.outbox.backoff import Backoff
from amends.outbox.errors import BrokerUnavailable, MalformedMessage, MessageTooLarge
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Delivery, Fate, Outgoing, Settled
from amends.participants.calls.request import addressed

log = logging.getLogger(__name__)

_IDLE_S: Final = 1.0
_PREFETCH: Final = 1_000
_RETURNED_S: Final = 0.2
_NOT_NOW_S: Final = 0.5
_JOIN_S: Final = 5.0


@dataclass(eq=False)
class Waiting:
    """A call that somebody waits for. `until` is monotonic; `attempt` is that of its last send."""

    call: wire.Command
    message: Message
    until: float
    answer: Future[wire.Reply] = field(default_factory=Future)
    attempt: int = 0
    sent_to: str = ""
    confirmed: bool = False
    problem: str = "it has not been sent yet"
    failed: wire.Reply | None = None  # the last failure after which it was sent again


class Switchboard:
    """One process's calls. Thread-safe; its two threads and two connections begin with the first call."""

    def __init__(self, broker: Broker, name: str) -> None:
        """`name` begins the mailbox's name. No I/O."""
        self._broker = broker
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Waiting]] = {}
        self._due: deque[Waiting] = deque()
        self._later: list[tuple[float, Waiting]] = []
        self._on_wire: dict[int, Waiting] = {}
        self._attempts = count(1)
        self._stopping = threading.Event()
        self._publisher = broker.publisher()
        self._mailbox = broker.mailbox(name, prefetch=_PREFETCH)
        self._address = ""
        self._threads = [
            threading.Thread(target=work, name=f"amends-calls-{role}", daemon=True)
            for role, work in (("send", self._send), ("receive", self._receive))
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, call: wire.Command, message: Message, timeout_s: float) -> Waiting:
        """Send a call; its `answer` will have the reply. Whoever gives up says so by `forget`."""
        one = Waiting(call, message, time.monotonic() + timeout_s)
        with self._lock:
            self._waiting.setdefault(call.saga, []).append(one)
            self._due.append(one)
        self._publisher.wake()
        return one

    def forget(self, one: Waiting) -> None:
        """Nobody waits for it any more: its answer is ignored."""
        with self._lock:
            others = self._waiting.get(one.call.saga, [])
            if one in others:
                others.remove(one)
            if not others:
                self._waiting.pop(one.call.saga, None)

    def close(self) -> None:
        """Leave the broker; what is waited for ends with BrokerUnavailable."""
        self._stopping.set()
        self._publisher.wake()
        self._mailbox.wake()
        for thread in self._threads:
            thread.join(_JOIN_S)
        with self._lock:
            left = [one for others in self._waiting.values() for one in others]
            self._waiting.clear()
        for one in left:
            _fail(one, BrokerUnavailable("the client was closed"))

    # The receiver's thread.

    def _receive(self) -> None:
        backoff = Backoff(0.1, 5.0)
        while not self._stopping.is_set():
            try:
                if not self._mailbox.address:
                    self._mailbox.receive(0.0)
                    self._moved()
                deliveries = self._mailbox.receive(_IDLE_S)
                backoff.reset()
            except BrokerUnavailable as error:
                self._lost(error)
                self._stopping.wait(backoff.next_s())
                continue
            except Exception:
                # Whatever it is, callers must not wait for a thread that is gone.
                log.exception("answers_not_received")
                self._stopping.wait(backoff.next_s())
                continue
            self._mailbox.ack([delivery.tag for delivery in deliveries])
            for delivery in deliveries:
                self._answered(delivery)
        self._mailbox.close()

    def _moved(self) -> None:
        """A mailbox is open: whoever waits is to be answered there."""
        with self._lock:
            self._address = self._mailbox.address
            known = set(self._due)
            self._due.extend(
                one for others in self._waiting.values() for one in others if one.sent_to and one not in known
            )
        self._publisher.wake()

    def _lost(self, error: BrokerUnavailable) -> None:
        with self._lock:
            self._address = ""
            for others in self._waiting.values():
                for one in others:
                    one.problem = str(error)
        log.warning("calls_broker_away", extra={"error": str(error)})

    def _answered(self, delivery: Delivery) -> None:
        try:
            if delivery.fault:
                raise MalformedMessage(delivery.fault)
            reply = wire.decode(delivery.type, delivery.body)
        except MalformedMessage as error:
            log.warning("call_answer_unreadable", extra={"error": str(error)})
            return
        if not isinstance(reply, wire.Reply):
            log.warning("call_answer_unreadable", extra={"error": f"no reply: {delivery.type[:60]}"})
            return
        with self._lock:
            known = [one for one in self._waiting.get(reply.saga, ()) if _settles(reply, one)]
            settled = [one for one in known if not self._put_off(reply, one)]
        if not known:
            log.debug("call_answer_late", extra={"call": reply.saga, "path": reply.path})
        for one in settled:
            self.forget(one)
            if one.answer.set_running_or_notify_cancel():
                one.answer.set_result(reply)

    def _put_off(self, reply: wire.Reply, one: Waiting) -> bool:
        """Whether the call is sent again: it met somebody in its way, and there is time."""
        if reply.outcome is not wire.Outcome.FAILED or reply.spent:
            return False
        moment = time.monotonic() + max(_NOT_NOW_S, reply.retry_after_s or 0.0)
        if moment >= one.until:
            return False
        one.failed = reply
        self._later.append((moment, one))
        self._publisher.wake()
        return True

    # The publisher's thread.

    def _send(self) -> None:
        backoff = Backoff(0.1, 5.0)
        while not self._stopping.is_set():
            try:
                outgoing = self._outgoing()
                if outgoing:
                    self._publisher.publish(outgoing)
                for settled in self._publisher.settled(self._patience_s()):
                    self._settle(settled)
                backoff.reset()
            except BrokerUnavailable as error:
                self._unsent(error)
                self._stopping.wait(backoff.next_s())
            except Exception:
                log.exception("calls_not_sent")
                self._stopping.wait(backoff.next_s())
        self._publisher.close()

    def _outgoing(self) -> list[Outgoing]:
        now = time.monotonic()
        with self._lock:
            self._due.extend(one for moment, one in self._later if moment <= now)
            self._later = [(moment, one) for moment, one in self._later if moment > now]
            if not self._address:
                return []
            due, self._due = self._due, deque()
            return [self._addressed(one, now) for one in due if one.until > now and not one.answer.done()]

    def _addressed(self, one: Waiting, now: float) -> Outgoing:
        one.attempt, one.sent_to = next(self._attempts), self._address
        one.call = msgspec.structs.replace(one.call, attempt=one.attempt)
        one.message = addressed(one.message, one.call, reply_to=self._address, expires_s=one.until - now)
        # A broker in this process confirms what was consumed, which may be long after.
        one.confirmed = one.confirmed or self._broker.confirms_when_consumed
        self._on_wire[one.attempt] = one
        return Outgoing(one.attempt, one.message)

    def _patience_s(self) -> float:
        with self._lock:
            if not self._later:
                return _IDLE_S
            first = min(moment for moment, _ in self._later)
        return max(0.0, min(_IDLE_S, first - time.monotonic()))

    def _settle(self, settled: Settled) -> None:
        one = self._on_wire.pop(settled.token, None)
        if one is None:
            return
        if settled.fate is Fate.CONFIRMED:
            one.confirmed = True
        elif settled.fate is Fate.TOO_LARGE:
            self.forget(one)
            size = len(one.message.body)
            _fail(one, MessageTooLarge("the call", size, size))
        else:
            # No queue of that name yet, or one without a leader: the participant may be about to make it.
            one.confirmed = False
            one.problem = f"the broker has no way to it: {settled.fate.value} {settled.reason}"
            with self._lock:
                self._later.append((time.monotonic() + _RETURNED_S, one))

    def _unsent(self, error: BrokerUnavailable) -> None:
        """What was on the wire is of unknown outcome: sent again, the participant tells."""
        with self._lock:
            again: Iterable[Waiting] = list(self._on_wire.values())
            self._on_wire.clear()
            for one in again:
                one.problem = str(error)
            self._due.extend(again)


def _settles(reply: wire.Reply, one: Waiting) -> bool:
    """Whether a reply answers a call: a failure only that of its last send (M3), whatever else any of them (M1)."""
    if reply.path != one.call.path or reply.op is not wire.Op.DO:
        return False
    return reply.outcome is not wire.Outcome.FAILED or reply.attempt == one.attempt


def _fail(one: Waiting, error: Exception) -> None:
    if one.answer.set_running_or_notify_cancel():
        one.answer.set_exception(error)
