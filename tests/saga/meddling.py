"""What goes wrong in a run of the explorer, and what operators do: first at random, in the end to have it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amends.coordinator.saga import events
from amends.coordinator.saga.events import Event
from amends.coordinator.saga.leaves import WaitNode
from amends.coordinator.saga.state import Phase, Pivot, Status, Step
from amends.coordinator.saga.walk import scope_of
from tests.saga.lives import Life
from tests.saga.story import HOUR, SECOND

if TYPE_CHECKING:
    from tests.saga.exploring import Run


def misfortune(run: Run) -> None:
    """One thing happens, at a bad moment."""
    rng = run.rng
    life = rng.choice([life for life in run.lives.values() if not life.saga.status.ended] or [run.root])
    luck = rng.random()
    if life.saga.status is Status.STUCK and rng.random() < 0.1:
        luck = 0.95  # An operator is soon there.
    elif luck >= 0.86 and rng.random() >= run.harshness:
        luck *= 0.7  # Mostly the network's and the timers' doing.
    run.now += rng.choice([0, 0, 1, SECOND])
    if luck < 0.6 and run.network:
        run.deliver(lost=0.2 * run.harshness, doubled=0.2)
    elif luck < 0.75:
        _timer(run, life)
    elif luck < 0.8:
        _signal(run, life)
    elif luck < 0.86:
        admit(run)
    elif luck < 0.9 and life.stale:
        path, attempt = rng.choice(life.stale)
        run.happens(life, events.TimerFired(path=path, attempt=attempt, held=run.held()))
    elif luck < 0.92:
        _deadline(run, life)
    elif luck < 0.96:
        if life.saga.steps:
            run.happens(life, _act(run, life))
    elif luck < 0.965:
        run.happens(life, events.InternalError(reason="boom", held=run.held()))
    elif luck < 0.97:
        life.forgetful = True


def admit(run: Run) -> bool:
    """There is room for something parked. False if nothing is."""
    parked = [
        (life, step.path)
        for life in run.lives.values()
        for step in life.saga.steps.values()
        if step.phase is Phase.PARKED and life.saga.status is not Status.STUCK
    ]
    if parked:
        life, path = run.rng.choice(parked)
        run.happens(life, events.Admitted(path=path, held=run.held()))
    return bool(parked)


def signal_what_is_waited_for(run: Run) -> bool:
    """Send one of the signals that are waited for. False if none is."""
    for life in run.lives.values():
        if life.saga.status is not Status.STUCK:
            for step in life.saga.steps.values():
                node = life.definition.plan.by_id[step.node].node
                if isinstance(node, WaitNode) and step.phase is Phase.WAITING:
                    _send_signal(run, life, node.signal + scope_of(step.path))
                    return True
    return False


def end(run: Run, life: Life, attempt: int) -> None:
    """An operator wants it over: retries first, then does without, or says what came of it, or ends it as it is."""
    saga = life.saga
    stuck = saga.stuck_steps
    deadline = None
    if not saga.backwards and saga.pivot in (Pivot.NONE, Pivot.AHEAD) and "through" not in saga.positions:
        deadline = run.now + 24 * HOUR
    if attempt % 8 in (0, 1) or not stuck:
        run.happens(life, events.Retry(actor="ann", reason="r", deadline=deadline))
    elif attempt % 8 in (2, 3, 4, 5):
        run.happens(life, events.Skip(actor="ann", reason="r", path=stuck[0].path))
    elif attempt % 8 == 6:
        run.happens(life, events.Force(actor="ann", reason="r", path=stuck[0].path, result={"x": 2}))
    else:
        run.happens(life, events.Finish(actor="ann", reason="r"))


def _timer(run: Run, life: Life) -> None:
    due = [step for step in life.saga.steps.values() if step.due is not None]
    if not due:
        return
    step = run.rng.choice(due)
    assert step.due is not None
    run.now = max(run.now, step.due)
    run.happens(
        life,
        events.TimerFired(
            path=step.path,
            attempt=step.attempt,
            spent=run.rng.random() < 0.8,
            excused=0 if run.rng.random() < 0.8 else HOUR,
            held=run.held(),
        ),
    )


def _signal(run: Run, life: Life) -> None:
    """Early, in time, late, for nobody, or once more."""
    rng = run.rng
    names = sorted(life.definition.plan.by_signal)
    if not names:
        return
    scopes = sorted({scope_of(path) for path in life.saga.steps}) or [""]
    name = rng.choice(names) + rng.choice(scopes)
    if run.signals and rng.random() < 0.3:
        number = rng.randint(1, run.signals)
        run.happens(life, events.Signalled(name=name, message_id=f"m{number}", payload=None, held=run.held()))
    else:
        _send_signal(run, life, name)


def _send_signal(run: Run, life: Life, name: str) -> None:
    run.signals += 1
    event = events.Signalled(
        name=name,
        message_id=f"m{run.signals}",
        payload={"signal": f"{name}:{run.signals}", "x": 1},
        held=run.held(),
    )
    run.happens(life, event)
    if not run.calm and run.rng.random() < 0.3:
        run.happens(life, event)


def _deadline(run: Run, life: Life) -> None:
    if life.saga.deadline is not None:
        run.now = max(run.now, life.saga.deadline)
        run.happens(life, events.DeadlineReached(held=run.held()))


def _act(run: Run, life: Life) -> Event:
    rng = run.rng
    stuck: list[Step] = list(life.saga.stuck_steps)
    path = rng.choice([step.path for step in stuck] or sorted(life.saga.steps))
    held = run.held()
    deadline = run.now + HOUR if rng.random() < 0.5 else None
    match rng.randrange(8):
        case 0:
            return events.Retry(actor="ann", reason="r", held=held, deadline=deadline)
        case 1:
            return events.Retry(actor="ann", reason="r", held=held, path=path)
        case 2:
            return events.Skip(actor="ann", reason="r", held=held, path=path)
        case 3:
            return events.Force(actor="ann", reason="r", held=held, path=path, result={"x": 3})
        case 4:
            return events.Force(actor="ann", reason="r", held=held, path=path, refuse=True)
        case 5:
            return events.Edit(
                actor="ann", reason="r", held=held, path=path, args={"x": 4}, deadline=deadline
            )
        case 6:
            return events.Finish(actor="ann", reason="r", held=held)
        case _:
            return events.Compensate(actor="ann", reason="r", held=held)
