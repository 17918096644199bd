"""The end of a run: what was held goes on, every message arrives, every timer runs, operators end what is stuck."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from amends.coordinator import rollout
from amends.coordinator.saga import events
from amends.coordinator.saga.leaves import StepNode
from amends.coordinator.saga.state import Status
from tests.stateful.sagas import STARTED

if TYPE_CHECKING:
    from tests.stateful.machine import EngineMachine

ROUNDS_MAX: Final = 300


class Ending:
    """Drains one run."""

    def __init__(self, run: EngineMachine) -> None:
        self._run = run
        self._turns = 0

    def comes(self) -> None:
        """Heal, drain, end what is stuck, drain again; then hold all of it against the promises."""
        run = self._run
        for name in STARTED:
            rollout.resume(run.house.database, name, actor="ann", reason="")
        run.book.suspended.clear()
        for engine in range(len(run.engines)):
            run.decides(engine)
        run.look()
        self._drain()
        for saga in run.seen.sagas.values():
            over = saga.status.ended or saga.status is Status.STUCK
            assert over, f"1: {saga.id} has not ended: {saga.status}, {saga.steps}"
            named = saga.status is not Status.STUCK or saga.stuck_steps or "internal error" in saga.cause
            assert named, f"15: {saga.id} is stuck, and does not say where"
        for _ in range(20):
            stuck = [one.id for one in run.seen.sagas.values() if one.status is Status.STUCK]
            if not stuck:
                break
            for id_ in stuck:
                run.engines[0].coordinator.submit_act(id_, events.Finish(actor="ann", reason="the end"))
            run.unclear_acts += len(stuck)
            self._drain()
        self._promises()

    def _drain(self) -> None:
        run = self._run
        for _ in range(ROUNDS_MAX):
            self._turns += 1
            engine = self._turns % 2
            moved = self._delivered(engine)
            if not moved:
                for number, one in enumerate(run.engines):
                    run.keeps_house(number)
                    one.tick()
                moved = any(one.waiting for one in run.engines)
            for each in (engine, 1 - engine):
                run.decides(each)
            for one in run.engines:
                one.settle()
            run.sweeper.sweep()
            run.look()
            if moved or run.post.mail or run.post.fresh:
                continue
            moment = run.house.next_moment()
            if moment is None:
                return
            run.passes(moment - run.house.clock.now_ms)
        raise AssertionError(f"11: it does not come to rest: {run.house.left()}")

    def _delivered(self, engine: int) -> bool:
        run, post = self._run, self._run.post
        run_out = bool(post.mail or post.fresh)
        mail, post.mail = post.mail, []
        for message in (*mail, *(run.owed.values() if not run_out else ())):
            run.arrives(engine, message)
        fresh, post.fresh = post.fresh, []
        for sent in fresh:
            run.arrives(engine, run.obeyed(sent, "done"))
        return run_out

    def _promises(self) -> None:
        run = self._run
        counts: Counter[str] = Counter()
        for saga in run.seen.sagas.values():
            assert saga.status.ended, f"1: no operator can end {saga.id}: {saga.status}, {saga.steps}"
            counts[saga.status.value] += 1
            if saga.overrides or "internal error" in saga.cause:
                continue
            for path, step in saga.steps.items():
                place = run.house.definition(saga.name, saga.version).plan.by_id[step.node]
                if isinstance(place.node, StepNode) and place.step.undo is not None and step.override is None:
                    self._effects(saga.id, path, saga.status, confirms=place.step.confirm is not None)
        assert run.seen.unsent == 0, f"11: {run.seen.unsent} rows are unsent"
        assert not run.owed, f"O1: never receipted: {run.owed}"
        if not run.killed and not run.seen.gone:
            told = run.tally.counts
            assert {name: told[name] for name in ("completed", "compensated")} == {
                name: counts[name] for name in ("completed", "compensated")
            }, f"17: {told} was told, {counts} are there"

    def _effects(self, saga: str, path: str, status: Status, *, confirms: bool) -> None:
        found = self._run.desk.effects[saga, path]
        if status is Status.COMPLETED:
            assert found == ["do", *(["confirm"] if confirms else [])], f"2: {path} of {saga}: {found}"
        else:
            assert found in ([], ["do", "undo"]), f"3: {path} of {saga}: {found}"
