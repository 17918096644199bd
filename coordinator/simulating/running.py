"""One run: a bad time, then a calm one in which everything must come to its end (invariants 1 to 13, 15 to 17)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from amends.coordinator.saga.state import Phase, Status, Step, queue_of
from amends.coordinator.simulating.coordinators import CoordinatorProcess
from amends.coordinator.simulating.endings import promises_at_the_end
from amends.coordinator.simulating.participants import WorkerProcess
from amends.coordinator.simulating.town import Town
from amends.coordinator.simulating.troubles import Clients, Operators, Troubles

_PASSES_MAX: Final = 6_000
_OPERATIONS_MAX: Final = 300
_OWNED_MAX_MS: Final = 60_000
_LONG_MS: Final = 8 * 86_400_000


class Run:
    """The run of one seed. `play` it once; `counts` tells what happened in it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.town = Town(seed)
        self.counts: Counter[str] = Counter()
        self._healed_at = 0
        self._clients = Clients(self.town)
        self._operators = Operators(self.town)
        self._troubles = Troubles(self.town)

    def play(self) -> None:
        """The whole of it. Raises: AssertionError, beginning with the invariant's number, if one is broken."""
        if self.town.calm_from_the_start:
            self._heal()
            while not self._clients.are_done:
                self._clients.start()
        else:
            self._bad_time()
            self._heal()
        self._drain()
        self._have_it_over()
        promises_at_the_end(self.town)
        self._leave()
        self._count()

    def _bad_time(self) -> None:
        rng, town = self.town.rng, self.town
        self._clients.start()
        for _ in range(rng.choice([200, 400, 800])):
            town.now += rng.choice([0, 0, 0, 1, 5, 50, 400])
            luck = rng.random()
            if (luck < 0.02 and not self._clients.are_done) or luck < 0.026:
                self._clients.start()
            elif luck < 0.04:
                self._clients.signal()
            elif luck < 0.04 + town.pace:
                self._troubles.time_passes()
            elif luck < 0.08 + 0.012 * town.mishaps.harshness:
                if luck >= 0.08:
                    self._troubles.strike()
            elif luck < 0.12:
                self._operators.interfere()
            else:
                process = rng.choice(town.processes)
                if not process.is_frozen:
                    town.act(process)

    def _heal(self) -> None:
        """From now on nothing goes wrong; what was broken is mended."""
        town = self.town
        town.say("run", lambda: "everything is healed")
        town.mishaps.calm = True
        self._healed_at = town.now
        town.register_newer()
        for process in town.processes:
            process.frozen_until = 0
        for id_, schedule in town.tables.schedules.items():
            town.tables.schedules[id_] = schedule._replace(paused=True)
        while not self._clients.are_done:
            self._clients.start()

    # The calm time

    def _drain(self) -> None:
        """Everything arrives; time passes only when nothing else is left to happen."""
        town = self.town
        for _ in range(_PASSES_MAX):
            busy = [process.settle() for process in town.processes]
            if any(busy) or self._retry_parked():
                continue
            if self._is_over() or not (self._clients.signal_what_is_waited_for() or self._time_passes()):
                return
        raise AssertionError(f"1: it does not come to an end: {self._open()}")

    def _is_over(self) -> bool:
        lives = self.town.auditor.lives.values()
        return all(life.saga.status.ended for life in lives) and self._is_quiet()

    def _is_quiet(self) -> bool:
        town = self.town
        outboxes = [town.tables.outbox, town.shop.outbox, *(one.outbox for one in town.participants.values())]
        return town.broker.is_empty and not town.tables.timers and not any(one.rows for one in outboxes)

    def _retry_parked(self) -> bool:
        """An operator lets rows go that had no route for an hour (O4); whether there were any."""
        town = self.town
        outboxes = (town.tables.outbox, town.shop.outbox, *(one.outbox for one in town.participants.values()))
        parked = sum(outbox.retry_parked() for outbox in outboxes)
        town.mishaps.counts["parked row"] += parked
        return parked > 0

    def _time_passes(self) -> bool:
        """On to the next moment at which something is due. False if only operators can go on."""
        town = self.town
        moments = list(self._moments())
        if not moments:
            return False
        self._promise_owners()
        town.now = max(town.now + 1, min(moments))
        for process in town.processes:
            if isinstance(process, CoordinatorProcess | WorkerProcess) and process.sender.beat_is_due:
                process.sender.beat()
        return True

    def _promise_owners(self) -> None:
        """O2: once all is well, no row waits long for its owner, who lives or is found dead."""
        town = self.town
        if town.auditor.clock_jumped:
            return  # A dead owner's heartbeat may lie in the future: that is what the backstop is for.
        tables = (town.tables.outbox, *(one.outbox for one in town.participants.values()))
        for table in tables:
            for row in table.rows.values():
                since = max(row.created, self._healed_at + table.now() - town.now)
                waits = row.owner is not None and table.now() - since > _OWNED_MAX_MS
                assert not waits, f"O2: row {row.id} waits for its owner: {row.message.type}"

    def _moments(self) -> list[int]:
        town = self.town
        moments = []
        for timer in town.tables.timers.values():
            leased = timer.leased_until
            moments.append((timer.due_ms if leased is None else max(timer.due_ms, leased + 1)) - town.skew)
        own = town.tables.outbox.soonest()
        if own is not None:
            moments.append(own - town.skew)
        for outbox in (town.shop.outbox, *(one.outbox for one in town.participants.values())):
            soonest = outbox.soonest()
            if soonest is not None:
                moments.append(soonest)
        waiting = list(self._waiting())
        breakers = town.tables.breakers
        for step in waiting:
            breaker = breakers.get(queue_of(step.participant, step.op))
            if breaker is not None and breaker.open:
                moments.append(breaker.probe_until - town.skew)
        if any(step.phase is Phase.PARKED for step in waiting):
            moments.append(town.now + 1_000)  # The gates are read anew each second.
        # What is due in this moment was tried in vain: a second later it is tried again.
        return [moment if moment > town.now else town.now + 1_000 for moment in moments]

    def _waiting(self) -> Iterator[Step]:
        """The steps of sagas that move which wait for a participant."""
        for life in self.town.auditor.lives.values():
            if life.saga.status in (Status.RUNNING, Status.COMPENSATING):
                for step in life.saga.steps.values():
                    if step.phase in (Phase.PARKED, Phase.AWAITING, Phase.BACKOFF):
                        yield step

    def _have_it_over(self) -> None:
        for attempt in range(_OPERATIONS_MAX):
            stuck = [life for life in self.town.auditor.lives.values() if life.saga.status is Status.STUCK]
            if not stuck:
                break
            self._operators.end(stuck[-1].saga, attempt)  # Children first: that may be all that parents need.
            self._drain()
        assert self._is_over(), f"1, 11: it is not over: {self._open()}"

    def _leave(self) -> None:
        """Days later: what nobody ever started is given up, and nothing is left but ids."""
        town = self.town
        town.now += _LONG_MS
        town.skew = 0
        town.coordinators[0].prune()
        left = [row.status for row in town.tables.sagas.values() if row.ended_ms is None]
        assert not left, f"11: rows that nobody will ever take away: {left}"

    def _open(self) -> str:
        town = self.town
        open_ = [life.saga for life in town.auditor.lives.values() if not life.saga.status.ended]
        queues = {queue: len(waiting) for queue, waiting in town.broker.queues.items() if waiting}
        rows = {
            "coordinator": town.tables.outbox.rows,
            "shop": town.shop.outbox.rows,
            **{one.name: one.outbox.rows for one in town.participants.values()},
        }
        outboxes = {name: list(found.values())[:3] for name, found in rows.items() if found}
        return f"sagas {open_}, queues {queues}, outboxes {outboxes}, timers {town.tables.timers}"

    def _count(self) -> None:
        town = self.town
        self.counts += town.mishaps.counts
        self.counts += town.auditor.counts
        self.counts["redelivered"] = town.broker.redelivered
        self.counts["published events"] = town.broker.events
        for life in town.auditor.lives.values():
            self.counts[life.saga.status.value] += 1
            self.counts["overridden"] += bool(life.saga.overrides)
