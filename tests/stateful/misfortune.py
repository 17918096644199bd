"""What may go wrong: messages lost, doubled or stray, time that passes, engines that die, commits nobody hears of."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from amends.coordinator import rollout
from amends.db import crashpoints
from tests.stateful import desk as desks
from tests.stateful.happening import engine, happening, has_news, has_sagas, pick, wish
from tests.stateful.house import engines
from tests.stateful.run import HOUR, MINUTE, SECOND, Run
from tests.stateful.sagas import STARTED
from tests.stateful.stepped import Killed, mortal

CRASHES = (
    "coordinator.batch.received",
    "coordinator.commit.before",
    "coordinator.commit.after",
    "coordinator.publish.before",
    "coordinator.publish.after",
    "coordinator.receipt.before",
    "coordinator.ack.before",
    "coordinator.ack.after",
    "coordinator.delete.before",
    "coordinator.delete.after",
)


class Misfortune(Run):
    """Its rules; in any order, at either engine."""

    @happening(lambda run: bool(run.post.mail), pick=pick, fresh=st.booleans())
    def a_message_is_lost(self, pick: int, fresh: bool) -> None:
        lost: list[Any] = self.post.fresh if fresh else self.post.mail
        if lost:
            lost.pop(pick % len(lost))

    @happening(lambda run: bool(run.post.mail or run.post.fresh))
    def the_broker_is_wiped(self) -> None:
        """16: nothing of it is needed."""
        self.post.is_wiped()

    @happening(engine=engine, point=st.sampled_from(CRASHES))
    def an_engine_dies(self, engine: int, point: str) -> None:
        """And another begins. What it had committed and not published is taken over by the relay."""
        for message in self.post.mail[:2]:
            self.arrives(engine, message)
        del self.post.mail[:2]
        crashpoints.arm(point)
        try:
            with mortal(self.house.monkeypatch):
                self.takes_a_turn(engine)
        except Killed:
            self.killed = True
        self.engines[engine].dies()
        self.post.collect()
        self.nobody_answered(engine)
        (self.engines[engine],) = engines(self.house, self.post, self.tally, 1)

    @happening(
        has_news,
        engine=engine,
        committed=st.booleans(),
    )
    def a_commit_is_not_answered(self, engine: int, committed: bool) -> None:
        if self.post.mail:
            self.arrives(engine, self.post.mail[0])
        if self.engines[engine].waiting:
            with self.engines[engine].losing_the_answer(committed=committed):
                self.takes_a_turn(engine)
            self.killed = True  # What it would have told nobody heard.
            self.nobody_answered(engine)

    @happening(lambda run: bool(run.post.fresh), wish=wish, engine=engine, for_good=st.booleans())
    def an_event_fails(self, wish: str, engine: int, for_good: bool) -> None:
        """E2: the others of its batch are decided; it is tried alone, and put aside at the third failure."""
        if not self.post.fresh:
            return
        sent = self.post.fresh.pop(0)
        for other in self.post.fresh[:2]:  # Others are in the same batch.
            self.arrives(engine, self.obeyed(other, wish))
        del self.post.fresh[:2]
        self.arrives(engine, self.obeyed(sent, wish))
        alone = self.engines[engine].waiting == 1
        self.house.clock.poison(sent.command.saga, (3 if alone else 4) if for_good else 1)
        try:
            self.takes_a_turn(engine)
        finally:
            self.house.clock.cure()
        self.resolve(engine)

    @happening(
        lambda run: bool(run.post.obeyed),
        pick=pick,
        what=st.sampled_from(["round", "attempt"]),
        engine=engine,
    )
    def a_reply_is_about_something_else(self, pick: int, what: str, engine: int) -> None:
        """M1, M3: of a round to come, or a failure of an attempt that is closed."""
        if not self.post.obeyed:
            return
        sent = self.post.obeyed[pick % len(self.post.obeyed)]
        reply = desks.answer(sent, "done" if what == "round" else "failed")
        change = {"round": reply.round + 1} if what == "round" else {"attempt": reply.attempt - 1}
        self.decides(engine)
        message = self.reply(msgspec.structs.replace(reply, **change))
        before = self.stored(message)
        self.arrives(engine, message)
        self.decides(engine)
        assert self.stored(message) == before, f"M1: {change} was taken for {sent.command}"

    @happening(lambda run: bool(run.post.mail), pick=pick, engine=engine)
    def a_message_arrives_twice(self, pick: int, engine: int) -> None:
        """6: the second copy changes nothing."""
        self.decides(engine)
        if not self.post.mail:
            return
        message = self.post.mail.pop(pick % len(self.post.mail))
        self.arrives(engine, message)
        self.decides(engine)
        before = self.stored(message)
        self.arrives(1 - engine, message)
        self.decides(1 - engine)
        if not self.unsure:
            assert self.stored(message) == before, f"6: a copy of {message.type} changed something"

    @happening(name=st.sampled_from(STARTED), suspend=st.booleans())
    def a_name_is_suspended_or_resumed(self, name: str, suspend: bool) -> None:
        (rollout.suspend if suspend else rollout.resume)(self.house.database, name, actor="ann", reason="")
        self.book.suspended = (self.book.suspended | {name}) if suspend else (self.book.suspended - {name})

    @happening(version=st.integers(1, 2))
    def another_version_is_active(self, version: int) -> None:
        rollout.activate(self.house.database, "trip", version, actor="ann", reason="")
        self.book.active["trip"] = version

    @happening(
        has_sagas,
        passes=st.sampled_from([SECOND, 31 * SECOND, 11 * MINUTE, 2 * HOUR]),
    )
    def time_passes(self, passes: int) -> None:
        self.passes(passes)

    @happening(has_sagas, engine=engine)
    def a_day_passes(self, engine: int) -> None:
        """What is over is pruned, and what nobody started is given up (E5, S1)."""
        self.passes(25 * HOUR)
        self.keeps_house(engine)
        self.decides(engine)

    @happening(has_sagas, engine=engine, other_too=st.booleans())
    def something_is_due(self, engine: int, other_too: bool) -> None:
        moment = self.house.next_moment()
        if moment is not None:
            self.passes(max(0, moment - self.house.clock.now_ms))
            self.engines[engine].tick()
            if other_too:
                self.engines[1 - engine].tick()
            self.decides(engine)
