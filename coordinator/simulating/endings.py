"""What must hold once everything is over: what was promised to clients, what participants did, what the logs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from amends.coordinator.engine.contract import Verdict
from amends.coordinator.saga.state import Phase
from amends.coordinator.schedules.records import scheduled_saga_id
from amends.coordinator.simulating.promises_kept import Happened, promise_at_the_end, promise_of_children
from amends.outbox.wire import event_id_of

if TYPE_CHECKING:
    from amends.coordinator.simulating.town import Town

FIRST_TICK: Final = 1_700_000_100_000  # of the schedule
TICKS_EVERY: Final = 300_000


def promises_at_the_end(town: Town) -> None:
    """Everything. Raises: AssertionError, beginning with the invariant's number."""
    auditor = town.auditor
    auditor.agrees_wholly(town.tables)
    for saga_id, life in auditor.lives.items():
        promise_at_the_end(life, happened(town, saga_id))
        parent = life.saga.parent
        if parent is not None and parent.saga in auditor.lives:
            promise_of_children(auditor.lives[parent.saga], life)
    _promise_starts(town)
    _promise_events(town)
    _promise_signals(town)
    _promise_schedules(town)
    _promise_gates(town)
    _promise_locks(town)
    if town.calm_from_the_start:
        late = {saga_id for saga_id, life in auditor.lives.items() if life.timeouts}
        assert not late, f"13: timers were needed though nothing went wrong: {late}"


def happened(town: Town, saga_id: str) -> Happened:
    """What the participants did for a saga, in its order at each of them."""
    effects = [
        one for participant in town.participants.values() for one in participant.effects.get(saga_id, ())
    ]
    rows = {
        path: row.do
        for participant in town.participants.values()
        for (of, path), row in participant.rows.items()
        if of == saga_id
    }
    return Happened(effects, rows)


def _promise_starts(town: Town) -> None:
    """12: what was accepted exists once, with the input it was accepted with."""
    lives, tables, shop = town.auditor.lives, town.tables, town.shop
    rejected = {saga_id for saga_id, _ in tables.refused}
    for saga_id in shop.promised:
        told = saga_id in lives or saga_id in rejected or saga_id in tables.spent
        assert told, f"12: start {saga_id} was taken, and there is no saga"
        assert saga_id in lives or not all(one.sound for one in shop.asked[saga_id]), (
            f"1: start {saga_id} was sound, and rejected"
        )
    for saga_id, asked in shop.asked.items():
        life = lives.get(saga_id)
        if life is not None:
            inputs = [one.input for one in asked if not one.malformed and one.name == life.saga.name]
            assert life.saga.input in inputs, f"12: saga {saga_id} has an input that nobody gave it"
        row = tables.sagas.get(saga_id)
        if row is not None and row.status != "rejected":
            told = row.start_message not in shop.rejected
            assert told, f"S2: saga {saga_id} began with a start that was told to be rejected"
    accepted: set[str] = set()
    for saga_id, verdict, value in shop.answers:
        if verdict not in (Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.CONFLICT):
            continue
        assert saga_id in lives, f"12: start {saga_id} was answered {verdict}, and there is no saga"
        same = lives[saga_id].saga.input == value
        assert same is (verdict is not Verdict.CONFLICT), f"12: start {saga_id} was answered {verdict}"
        assert verdict is not Verdict.ACCEPTED or saga_id not in accepted, f"12: {saga_id} was accepted twice"
        if verdict is Verdict.ACCEPTED:
            accepted.add(saga_id)


def _promise_events(town: Town) -> None:
    """Domain events reach the broker at least once, though it may lose them then (16)."""
    for saga_id, life in town.auditor.lives.items():
        for one in life.published:
            if one.path:
                sent = town.broker.has_taken(event_id_of(saga_id, one.path, one.op.value))
                assert sent, f"O1: the event {one.type} of {saga_id} was never published"


def _promise_signals(town: Town) -> None:
    """S1: what was accepted, or kept for a saga that then started, was heard."""
    for saga_id, number, name in town.shop.heard:
        life = town.auditor.lives.get(saga_id)
        if life is None or town.mishaps.counts["placeholder expired"]:
            continue  # Nobody started it, or so late that it was given up.
        if not life.listens or life.saga.clock == life.saga.started:
            continue  # It turned back or ended in the moment it began, and waited for no more.
        places = life.definition.plan.by_signal.get(name.partition("/")[0], ())
        waits = any(len(place.eaches) == name.count("/") for place in places)
        assert not waits or f"m{number}" in life.heard, f"S1: {saga_id} never heard the signal {name}"


def _promise_schedules(town: Town) -> None:
    """S4: of each instant one saga, and what the schedule counts is what there is."""
    for schedule in town.tables.schedules.values():
        fired = [
            life for life in town.auditor.lives.values() if life.saga.labels.get("schedule") == schedule.name
        ]
        assert schedule.fired == len(fired), f"S4: {schedule.fired} runs counted, {len(fired)} sagas started"
        passed = (schedule.next_ms - FIRST_TICK) // TICKS_EVERY
        counted = schedule.fired + schedule.missed_runs + schedule.failed_runs
        assert counted == passed, f"S4: {passed} instants passed, {counted} were counted"
        ids = {
            scheduled_saga_id(schedule.name, FIRST_TICK + number * TICKS_EVERY) for number in range(passed)
        }
        assert all(life.saga.id in ids for life in fired), "S4: a run of no instant"


def _promise_gates(town: Town) -> None:
    """17: what coordinators count is what the database says: nothing is out, nothing is parked."""
    for saga_id, steps in town.tables.steps.items():
        waiting = [step[1] for step in steps.values() if step[4] != Phase.SETTLED.value]
        assert not waiting, f"17: {saga_id} has ended with {waiting} outstanding"


def _promise_locks(town: Town) -> None:
    """L4: no lock outlives its saga."""
    for participant in town.participants.values():
        left = {saga_id for saga_id in participant.locks if town.auditor.lives[saga_id].saga.status.ended}
        assert not left, f"L4: {participant.name} still holds locks for {left}"
