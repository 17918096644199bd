"""One queue, one consumer, some threads that run its commands.

receive --(turnstile)--> waiting --> thread: obey --done--> ack
   ^                     |
   |                     +--database away--> nothing: the consumer is closed, the broker takes all back
   +---- the database is there again -------+
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Final

from amends.db.crashpoints import crash_point
from amends.db.errors import StoreUnavailable
from amends.outbox.backoff import Backoff
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.gathering import Gathering
from amends.outbox.ports import Broker, Consumer, Delivery
from amends.participants.worker.calling import Caller
from amends.participants.worker.gate import DatabaseGate
from amends.participants.worker.queueing import Entry, Queueing
from amends.participants.worker.sizing import BatchSize
from amends.participants.worker.stopwatch import Stopwatch

log = logging.getLogger(__name__)

_RECEIVE_S: Final = 1.0
_RECONNECT_FIRST_S: Final = 0.1
_RECONNECT_LONGEST_S: Final = 5.0
_AWAY_GRACE_S: Final = 5.0
_FAULT_S: Final = 0.5
_LOAD: Final = 8  # From batches of so many on the next ones are let grow.

# Deals with some messages, and tells of those it has dealt with, durably.
Obey = Callable[[Sequence[Delivery], Caller, Callable[[Sequence[Delivery]], None]], None]


class Lane:
    """Started once and stopped once. Its threads are daemons: one that hangs does not keep the process."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        queue: str,
        obey: Obey,
        gate: DatabaseGate,
        stopwatch: Stopwatch,
        *,
        threads: int,
        prefetch: int,
        time_limit_s: float,
        batch: BatchSize | None = None,
        queueing: Queueing | None = None,
    ) -> None:
        """`prefetch` is how many messages may be here at once, `batch` how many a thread takes at once (None: 1)."""
        self._broker = broker
        self._queue = queue
        self._obey = obey
        self._gate = gate
        self._stopwatch = stopwatch
        self._prefetch = prefetch
        self._time_limit_s = time_limit_s
        self._batch = batch or BatchSize(1)
        self._queueing = queueing or Queueing({}, lambda *_: False, prefetch=prefetch)
        self._waiting: deque[Entry] = deque()
        # One call wakes one thread; who leaves something waiting calls the next. None ends a thread.
        self._calls: SimpleQueue[bool | None] = SimpleQueue()
        self._consumer: Consumer | None = None
        self._stopping = threading.Event()
        self._stop_by = 0.0
        self.connected = False
        self._under_way = 0
        self._change = threading.Condition()
        self._receiver = threading.Thread(target=self._receive, name=f"amends-{name}", daemon=True)
        self._threads = [
            threading.Thread(target=self._work, name=f"amends-{name}-{number}", daemon=True)
            for number in range(1, threads + 1)
        ]
        gate.on_shut(self._wake)

    def start(self) -> None:
        """Begin to consume."""
        for thread in (self._receiver, *self._threads):
            thread.start()

    def ask_to_stop(self, stop_by: float) -> None:
        """Begin no more commands; those under way may finish until `stop_by` (monotonic), the rest goes back."""
        self._stop_by = stop_by
        self._stopping.set()
        self._wake()

    def join(self) -> bool:
        """Wait for the end that was asked for; whether every command under way finished."""
        self._receiver.join()
        for _ in self._threads:
            self._calls.put(None)
        finished = self._under_way == 0
        if finished:
            for thread in self._threads:
                thread.join()
        return finished

    def _receive(self) -> None:
        while not self._stopping.is_set():
            self._gate.wait(self._stopping)
            if self._stopping.is_set():
                return
            try:
                self._serve()
            except Exception:
                # Whatever it is, the queue must not wait for a thread that is gone: connect anew.
                self.connected = False
                log.exception("lane_failed", extra={"queue": self._queue})
                self._stopping.wait(_FAULT_S)

    def _serve(self) -> None:
        """Consume until told to stop or the database is away."""
        consumer = self._broker.consumer([self._queue], prefetch=self._prefetch)
        with self._change:
            self._consumer = consumer
        try:
            self._consume(consumer)
            self._await_end(self._stop_by if self._stopping.is_set() else time.monotonic() + _AWAY_GRACE_S)
        finally:
            with self._change:
                self._consumer = None
            self._queueing.forget_held()
            # Whatever was not acknowledged goes back to the queue.
            consumer.close()

    def _consume(self, consumer: Consumer) -> None:
        backoff = Backoff(_RECONNECT_FIRST_S, _RECONNECT_LONGEST_S)
        while not self._stopping.is_set() and self._gate.is_open and self._consumer is consumer:
            try:
                deliveries = consumer.receive(self._queueing.patience_s or _RECEIVE_S)
                self._hand_over(self._queueing.arrived(consumer, deliveries))
                self._hand_over(self._queueing.tick())
                backoff.reset()
                self.connected = True
            except BrokerUnavailable as error:
                self.connected = False
                self._forget_waiting()
                wait_s = backoff.next_s()
                log.warning(
                    "broker_away", extra={"queue": self._queue, "error": str(error), "again_in_s": wait_s}
                )
                self._stopping.wait(wait_s)

    def _forget_waiting(self) -> None:
        """Drop what no thread has begun: with the connection the broker has taken it back, and delivers it again."""
        self._queueing.forget_held()
        while True:
            try:
                gone = self._waiting.popleft()
            except IndexError:
                return
            self._queueing.left([gone])

    def _hand_over(self, entries: Sequence[Entry]) -> None:
        if entries:
            self._waiting.extend(entries)
            self._calls.put(True)

    def _await_end(self, deadline: float) -> None:
        with self._change:
            self._change.wait_for(lambda: self._under_way == 0, max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        caller, gathering = Caller(self._time_limit_s), Gathering(_LOAD)
        try:
            while self._calls.get() is not None:
                if gathering.wait_s and len(self._waiting) < self._batch.limit:
                    self._stopping.wait(gathering.wait_s)
                limit = self._batch.limit
                consumer, deliveries = self._take(limit)
                if consumer is not None and self._begin(consumer):
                    began = time.monotonic()
                    try:
                        self._deal_with(consumer, deliveries, caller)
                    finally:
                        gathering.done(len(deliveries), time.monotonic() - began)
                        self._batch.took(limit, len(deliveries))
                        self._end()
                if consumer is not None:
                    self._hand_over(self._queueing.left([(consumer, one) for one in deliveries]))
        finally:
            caller.close()

    def _take(self, limit: int) -> tuple[Consumer | None, list[Delivery]]:
        """Up to `limit` of what waits, all of one consumer; another thread is called for the rest.

        Whose they are is read with them: asked before, it might be an earlier one, and a later one's would be dropped.
        """
        consumer: Consumer | None = None
        taken: list[Delivery] = []
        with suppress(IndexError):
            while len(taken) < limit:
                of, delivery = self._waiting.popleft()
                if consumer is not None and of is not consumer:
                    self._waiting.appendleft((of, delivery))
                    break
                consumer = of
                taken.append(delivery)
        if self._waiting:
            self._calls.put(True)
        return consumer, taken

    def _begin(self, consumer: Consumer) -> bool:
        with self._change:
            if self._stopping.is_set() or consumer is not self._consumer:
                return False  # It goes back, or has gone back.
            self._under_way += 1
            return True

    def _end(self) -> None:
        with self._change:
            self._under_way -= 1
            self._change.notify_all()

    def _deal_with(self, consumer: Consumer, deliveries: Sequence[Delivery], caller: Caller) -> None:
        left = {delivery.tag for delivery in deliveries}

        def done(finished: Sequence[Delivery]) -> None:
            tags = [delivery.tag for delivery in finished]
            crash_point("participant.ack.before")
            consumer.ack(tags)
            crash_point("participant.ack.after")
            left.difference_update(tags)

        try:
            with self._stopwatch.timing(deliveries[0]):
                self._obey(deliveries, caller, done)
        except StoreUnavailable as error:
            # Before the gate: another lane may have opened it again when ours comes to look.
            self._leave(consumer)
            self._gate.shut(error)
        except Exception:
            # A fault of our own: hand it back, and not so fast that it becomes a storm.
            log.exception("command_not_answered", extra={"queue": self._queue})
            self._stopping.wait(_FAULT_S)
            consumer.requeue(left)

    def _leave(self, consumer: Consumer) -> None:
        """Let this consumer be closed: what it has not acknowledged goes back to the queue."""
        with self._change:
            if self._consumer is consumer:
                self._consumer = None
        consumer.wake()

    def _wake(self) -> None:
        consumer = self._consumer
        if consumer is not None:
            consumer.wake()
