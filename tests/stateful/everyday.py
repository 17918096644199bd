"""What happens every day: starts, commands and their answers, signals, operators, and every thread's turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import initialize

from amends.coordinator.engine.contract import ActVerdict
from amends.coordinator.gauges import read_gauges
from amends.coordinator.saga import events
from amends.coordinator.saga.state import Phase
from amends.outbox import wire
from tests.stateful.book import Wanted
from tests.stateful.happening import engine, happening, has_sagas, pick, wish
from tests.stateful.run import HOUR, Asked, Run
from tests.stateful.sagas import SIGNALS, STARTED, input_of, variant_of

IDS = UUID("0b0b0b0b-0000-4000-8000-000000000000")


class Everyday(Run):
    """Its rules; in any order, at either engine."""

    @initialize(
        starts=st.lists(
            st.tuples(st.sampled_from(STARTED), st.integers(0, 1), st.sampled_from([None, "one"]), engine),
            min_size=2,
            max_size=4,
        )
    )
    def some_have_begun(self, starts: list[tuple[str, int, str | None, int]]) -> None:
        """No run begins with nothing to do."""
        for name, variant, key, at in starts:
            self.a_door_starts(name=name, variant=variant, key=key, version=None, engine=at, now=True)

    @happening(
        name=st.sampled_from(STARTED),
        variant=st.integers(0, 2),
        key=st.sampled_from([None, "one", "two"]),
        version=st.sampled_from([None, None, None, 1, 9]),
        engine=engine,
        now=st.booleans(),
    )
    def a_door_starts(
        self, name: str, variant: int, key: str | None, version: int | None, engine: int, now: bool
    ) -> None:
        wanted = Wanted(self._id_of(name, key), name, variant_of(name, variant), version)
        answer = self.engines[engine].coordinator.submit_start(self._start(wanted, key), actor="test")
        self.ask(engine, Asked(wanted.id, lambda _: None, answer, start=wanted), now)

    @happening(
        name=st.sampled_from(STARTED),
        variant=st.integers(0, 2),
        key=st.sampled_from([None, "one", "two"]),
        receipted=st.sampled_from([True, True, False]),
    )
    def the_shop_starts(self, name: str, variant: int, key: str | None, receipted: bool) -> None:
        wanted = Wanted(self._id_of(name, key), name, variant_of(name, variant))
        self.numbers += 1
        headers = (
            {wire.HEADER_ROW: str(self.numbers), wire.HEADER_RECEIPT_TO: self.post.shop} if receipted else {}
        )
        message = self.post.write(wire.START, self._start(wanted, key), wanted.id, headers)
        self.written[message.message_id] = replace(wanted, message=message.message_id)
        self.post.mail.append(message)
        if receipted:
            self.owed[message.message_id] = message

    @happening(lambda run: bool(run.begun), pick=pick, variant=st.integers(0, 1), engine=engine)
    def a_start_comes_again(self, pick: int, variant: int, engine: int) -> None:
        """S2, S3: with the same input or another, while its saga runs, when it is over, when it was pruned."""
        gone = [one for one in self.begun if one.id in self.book.spent]
        wanted = (gone or self.begun)[pick % len(gone or self.begun)]
        wanted = replace(wanted, variant=variant, message=None)
        answer = self.engines[engine].coordinator.submit_start(self._start(wanted, None), actor="test")
        self.ask(engine, Asked(wanted.id, lambda _: None, answer, start=wanted), True)

    @happening(lambda run: bool(run.owed))
    def the_shop_comes_again(self) -> None:
        self.post.mail += self.owed.values()

    @happening(lambda run: bool(run.post.fresh), engine=engine, many=st.integers(2, 8))
    def commands_are_obeyed(self, engine: int, many: int) -> None:
        for _ in range(min(many, len(self.post.fresh))):
            self.arrives(engine, self.obeyed(self.post.fresh.pop(0), "done"))
        self.decides(engine)

    @happening(
        lambda run: bool(run.post.fresh or run.post.obeyed),
        pick=pick,
        again=st.booleans(),
        wish=wish,
        copies=st.integers(1, 2),
        engine=engine,
        now=st.booleans(),
    )
    def a_command_is_obeyed(
        self, pick: int, again: bool, wish: str, copies: int, engine: int, now: bool
    ) -> None:
        commands = self.post.obeyed if again or not self.post.fresh else self.post.fresh
        if not commands:
            return
        sent = commands[pick % len(commands)]
        if commands is self.post.fresh:
            self.post.fresh.remove(sent)
        reply = self.obeyed(sent, wish)
        for _ in range(copies):
            self.arrives(engine, reply) if now else self.post.mail.append(reply)
        if now:
            self.decides(engine)

    @happening(lambda run: bool(run.post.mail), engine=engine)
    def the_post_comes(self, engine: int) -> None:
        """All that is for the coordinators, in its order."""
        mail, self.post.mail = self.post.mail, []
        for message in mail:
            self.arrives(engine, message)
        self.decides(engine)

    @happening(
        lambda run: bool(run.post.mail), pick=pick, engine=engine, kept=st.booleans(), now=st.booleans()
    )
    def a_message_arrives(self, pick: int, engine: int, kept: bool, now: bool) -> None:
        if self.post.mail:
            message = self.post.mail[pick % len(self.post.mail)]
            if not kept:
                self.post.mail.remove(message)
            self.arrives(engine, message)
            if now:
                self.decides(engine)

    @happening(lambda run: any(one.waiting for one in run.engines), engine=engine)
    def an_engine_decides(self, engine: int) -> None:
        self.decides(engine)

    @happening(has_sagas, engine=engine)
    def an_engine_keeps_house(self, engine: int) -> None:
        self.keeps_house(engine)
        self.decides(engine)
        self.look_again()
        assert read_gauges(self.house.database).live_sagas == self.seen.live(), "17: the gauges say otherwise"

    @happening(has_sagas)
    def the_relay_sweeps(self) -> None:
        self.sweeper.sweep()

    @happening(
        has_sagas,
        pick=pick,
        step=pick,
        act=st.integers(0, 8),
        more=st.booleans(),
        engine=engine,
        now=st.booleans(),
    )
    def an_operator_acts(self, pick: int, step: int, act: int, more: bool, engine: int, now: bool) -> None:
        going = sorted(id_ for id_, saga in self.seen.sagas.items() if not saga.status.ended)
        ids = going if going and more else sorted(self.seen.sagas)
        saga = self.seen.sagas[ids[pick % len(ids)]]
        stuck = [one.path for one in saga.stuck_steps]
        going = sorted(one.path for one in saga.steps.values() if one.phase is not Phase.SETTLED)
        paths = stuck or (going if going and more else sorted(saga.steps)) or ["nowhere"]
        wanted = self._act(act, paths[step % len(paths)], more)
        answer = self.engines[engine].coordinator.submit_act(saga.id, wanted)

        def check(answer: Any) -> None:
            self.acts += answer.verdict is ActVerdict.APPLIED
            assert (answer.verdict is ActVerdict.UNKNOWN_SAGA) is (saga.id not in self.book.rows), answer

        self.ask(engine, Asked(saga.id, check, answer), now)

    @happening(
        pick=pick,
        signal=st.integers(0, 2),
        message=st.sampled_from(["s1", "s2"]),
        engines=st.sampled_from([(0,), (1,), (0, 0), (0, 1)]),
        now=st.booleans(),
    )
    def a_signal_comes(
        self, pick: int, signal: int, message: str, engines: tuple[int, ...], now: bool
    ) -> None:
        """S1: early, in time, late, and once more."""
        waits = {id_: saga.name for id_, saga in self.seen.sagas.items() if saga.name in SIGNALS}
        early = {wire.saga_id_of("approval", "one"): "approval"}
        targets = sorted({**dict.fromkeys(self.seen.gone, "approval"), **early, **waits}.items())
        id_, name = targets[pick % len(targets)]
        for one in engines:
            self._signal(one, id_, SIGNALS[name][signal], message, now)

    def _id_of(self, name: str, key: str | None) -> str:
        self.numbers += 1
        return wire.saga_id_of(name, key) if key is not None else str(uuid5(IDS, str(self.numbers)))

    def _start(self, wanted: Wanted, key: str | None) -> wire.Start:
        return wire.Start(
            saga=wanted.id,
            name=wanted.name,
            input=msgspec.Raw(msgspec.json.encode(input_of(wanted.name, wanted.variant))),
            version=wanted.version,
            key=key,
            sent_at=self.house.clock.now_ms,
        )

    def _signal(self, engine: int, saga: str, signal: str, message: str, now: bool) -> None:
        answer = self.engines[engine].coordinator.submit_signal(saga, signal, b"1", message_id=message)
        # A start in the same batch comes first, whatever the order in which they were asked.
        begins = any(one.saga == saga and one.start is not None for one in self.asked[engine])

        def check(answer: Any) -> None:
            may = self.book.signal(saga, signal, message, self.seen.sagas.get(saga))
            assert begins or answer.verdict in may, f"S1: {signal} of {saga} was {answer.verdict}, not {may}"
            self.book.signalled(saga, signal, message, answer.verdict)
            if begins:
                self.unsure.add(saga)

        self.ask(engine, Asked(saga, check, answer), now)

    def _act(self, number: int, path: str, more: bool) -> events.Act:
        who: dict[str, Any] = {"actor": "ann", "reason": "r"}
        now = self.house.clock.now_ms
        deadline = now + HOUR if more else None
        acts: list[Callable[[], events.Act]] = [
            lambda: events.Retry(**who, deadline=deadline),
            lambda: events.Retry(**who, path=path),
            lambda: events.Skip(**who, path=path),
            lambda: events.Force(**who, path=path, refuse=more, result={"n": 2}),
            lambda: events.Edit(**who, path=path, args={"n": 3}, deadline=deadline),
            lambda: events.Finish(**who),
            lambda: events.Compensate(**who),
            lambda: events.MoveTimer(**who, path=path, due=now + (HOUR if more else 0)),
            lambda: events.CancelTimer(**who, path=path if more else None),
        ]
        return acts[number]()
