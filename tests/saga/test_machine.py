"""The machine as a whole: what it costs, what it withstands, and that its log tells everything (invariant 10)."""

from __future__ import annotations

from random import Random

import pytest

from amends.coordinator import Saga, chain, group, step
from amends.coordinator.saga import events
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.events import Event, Outcome, Replied
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.state import Op
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.simulating.authoring import random_definition
from amends.coordinator.simulating.promises import check
from tests.saga.story import HOUR, NOON, done, failed, refused, tell


def nonsense(rng: Random, paths: list[str]) -> Event:
    """Any event at all, fitting or not."""
    path = rng.choice([*paths, "nobody"])
    number = rng.randint(1, 4)
    held = frozenset({"x.do", "y.undo"}) if rng.random() < 0.2 else frozenset()
    ops = list(Op)
    match rng.randrange(12):
        case 0:
            return events.TimerFired(path=path, attempt=number, excused=rng.choice([0, HOUR]), held=held)
        case 1:
            return events.DeadlineReached(held=held)
        case 2:
            return events.Admitted(path=path, held=held)
        case 3:
            return events.Unsendable(path=path, attempt=number, reason="r", held=held)
        case 4 if rng.random() < 0.1:
            return events.InternalError(reason="r", held=held)
        case 5:
            return events.Retry(actor="a", reason="r", path=rng.choice([None, path]), held=held)
        case 6:
            return events.Skip(actor="a", reason="r", path=path, held=held)
        case 7 if rng.random() < 0.1:
            return events.Compensate(actor="a", reason="r", held=held)
        case _:
            return Replied(
                path=path,
                op=rng.choice(ops),
                round=rng.choice([1, 1, 1, 2]),
                attempt=number,
                outcome=rng.choice(list(Outcome)),
                result=rng.choice([None, {"x": 1}, 5]),
                certain=rng.random() < 0.7,
                spent=rng.random() < 0.7,
                retry_after=rng.choice([None, 0, -5, 10**18]),
                in_doubt=rng.random() < 0.3,
                closes=rng.choice([None, None, *ops]),
                held=held,
            )


def test_no_event_whatever_breaks_the_machine():
    for seed in range(300):
        rng = Random(seed)
        definition = random_definition(rng)
        born = saga = begin(definition, id="s", input=rng.choice([None, [], {"x": 1}]), labels={}, now=NOON)
        log = []
        now = NOON
        for event in [events.Started(), *(nonsense(rng, list(definition.plan.by_name)) for _ in range(80))]:
            now += rng.choice([0, 1, 1_000, HOUR, -HOUR])
            try:
                after, effects = advance(definition, saga, event, now)
            except ActRefused:
                continue
            if after is saga:
                assert effects == ()
                continue
            log.append((event, after.clock))
            saga = after
            check(definition, saga)
        replayed = born
        for event, at in log:
            replayed, _ = advance(definition, replayed, event, at)
        assert replayed == saga, f"seed {seed}"


def test_what_changes_nothing_gives_the_very_same_saga():
    story = tell(step("a", to="x", undo="u"), step("b", to="x", undo="u")).given(a=done())
    saga = story.saga

    story.when(a=done(), b=failed().of_attempt(7))

    assert story.saga is saga


def test_the_clock_and_the_sequence_follow_every_change():
    story = tell(step("a", to="x", undo="u"), step("b", to="x", undo="u"))
    assert (story.born.seq, story.saga.seq) == (0, 1)

    story.after(500).when(a=done())

    assert (story.saga.seq, story.saga.clock) == (2, NOON + 500)


def test_advance_changes_no_value_it_was_given():
    story = tell(group(step("a", to="x", undo="u"), step("b", to="x", undo="u")))
    saga, text = story.saga, repr(story.saga)

    story.when(a=done(), b=refused())

    assert repr(saga) == text


@pytest.mark.parametrize("length", [3, 300])
def test_an_event_costs_the_same_in_a_long_saga(length: int, monkeypatch: pytest.MonkeyPatch):
    steps = [step(f"s{number}", to="x", undo="u") for number in range(length)]
    definition = Saga("long", chain(*steps), version=1).definition
    saga, _ = advance(
        definition, begin(definition, id="s", input=None, labels={}, now=NOON), events.Started(), NOON
    )
    touched: list[str] = []
    thaw = StepDraft.of.__func__

    def counted(cls, one, place):
        touched.append(one.path)
        return thaw(cls, one, place)

    monkeypatch.setattr(StepDraft, "of", classmethod(counted))
    for number in range(length - 1):
        reply = Replied(path=f"s{number}", op=Op.DO, round=1, attempt=1, outcome=Outcome.DONE)
        saga, _ = advance(definition, saga, reply, NOON)

    assert touched == [f"s{number}" for number in range(length - 1)]
