"""From what a test writes to what the machine is told: which step is meant, and whether such an answer can come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from amends.coordinator.saga import events
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import ReportOutcome
from amends.coordinator.saga.events import Event, Outcome
from amends.coordinator.saga.leaves import CallNode, StepNode, WaitNode
from amends.coordinator.saga.state import Op, Phase, Step
from amends.coordinator.saga.walk import Place, scope_of
from amends.testing.answers import SILENCE, STUCK, Answer
from amends.testing.errors import NotAwaited, UnknownStep, WrongAnswer
from amends.testing.happenings import plain

if TYPE_CHECKING:
    from amends.testing.story import Story

_TO: Final[Mapping[Op, tuple[str, ...]]] = {
    Op.DO: ("done", "refused", "failed", "expired"),
    Op.UNDO: ("done", "nothing", "refused", "failed", "expired"),
    Op.CONFIRM: ("done", "refused", "failed", "expired"),
    Op.FENCE: ("never", "done", "refused", "nothing", "unknown", "failed", "expired"),
}
_OF_CHILDREN: Final = ("done", "refused", "never", STUCK)


def answers_by_path(definition: Definition, script: Mapping[str, object]) -> Iterator[tuple[str, Answer]]:
    """What is answered, by path. Raises: UnknownStep, WrongAnswer."""
    for name, said in script.items():
        place = place_of(definition, name)
        if isinstance(said, Answer):
            if place.eaches and "/" not in name:
                raise WrongAnswer(
                    f"{name!r} is in an `each`: give a list, an answer for each item ({name}=[done(), done()]), "
                    f"or one item's path: {{'{name}/0': done()}}"
                )
            yield name, said
        elif isinstance(said, list | tuple):
            if not place.eaches:
                raise WrongAnswer(f"{name!r} is in no `each`: it has one answer, not a list")
            for number, answer in enumerate(said):
                if answer is not None:
                    yield f"{name}/{number}", _an_answer(name, answer)
        else:
            yield name, _an_answer(name, said)


def place_of(definition: Definition, path: str) -> Place:
    """Where the step of this path stands. Raises: UnknownStep."""
    name = path.partition("/")[0]
    place = definition.plan.by_name.get(name)
    if place is None:
        raise UnknownStep("step", name, definition.name, definition.plan.by_name)
    return place


def answered(story: Story, path: str, answer: Answer) -> Iterator[Event]:
    """What the machine is told. Raises: NotAwaited, WrongAnswer."""
    node = place_of(story.definition, path).leaf
    if isinstance(node, StepNode):
        yield _reply(story, path, answer)
    elif isinstance(node, CallNode):
        yield _report(story, path, answer)
    elif isinstance(node, WaitNode):
        if answer.outcome != "done":
            raise WrongAnswer(
                f"{path!r} waits for a signal: say {path}=done(payload), or after(...), not {answer!r}"
            )
        name = f"{node.signal}{scope_of(path)}"
        identity = f"signal-{len(story.course)}"
        yield events.Signalled(name=name, message_id=identity, payload=plain(answer.result))
    else:
        kind = type(node).__name__.removesuffix("Node").lower()
        raise WrongAnswer(f"{path!r} is a {kind}, which nobody answers")


def _reply(story: Story, path: str, answer: Answer) -> Event:
    step = _awaited(story, path, answer)
    op = Op(answer.to_op) if answer.to_op else step.op
    fitting = _TO[op]
    if answer.outcome not in fitting:
        raise WrongAnswer(
            f"{path!r} is asked to {op.value}, which is answered with {', '.join(fitting)}; not with {answer!r}"
        )
    retry_after = None if answer.retry_after_s is None else round(answer.retry_after_s * 1000)
    return events.Replied(
        path=path,
        op=op,
        round=answer.to_round or step.round,
        attempt=answer.to_attempt or step.attempt,
        outcome=Outcome(answer.outcome),
        result=plain(answer.result),
        reason=answer.reason,
        certain=answer.certain,
        spent=answer.spent,
        retry_after=retry_after,
        in_doubt=answer.in_doubt,
        closes=step.closes if op is step.op else None,
    )


def _report(story: Story, path: str, answer: Answer) -> Event:
    if answer.outcome not in _OF_CHILDREN:
        raise WrongAnswer(f"{path!r} calls a child, which reports {', '.join(_OF_CHILDREN)}; not {answer!r}")
    step = _awaited(story, path, answer)
    return events.Reported(
        path=path,
        child=story._children[path],
        round=answer.to_round or step.round,
        outcome=ReportOutcome(answer.outcome),
        result=plain(answer.result),
        reason=answer.reason,
    )


def _awaited(story: Story, path: str, answer: Answer) -> Step:
    """The step, of which something is awaited; or anything, if the answer is said to be late."""
    step = story.saga.steps.get(path)
    if step is None:
        raise NotAwaited(f"{path!r} has not begun, so that it has no answer; {_open(story)}\n{story}")
    if answer.to_op is None and step.phase is Phase.SETTLED:
        raise NotAwaited(
            f"{path!r} is settled: its {step.op.value} was answered. An answer that comes twice or late is "
            f"said with .to({step.op.value!r}); {_open(story)}\n{story}"
        )
    if step.phase is Phase.BACKOFF and answer.to_op is None and answer.outcome == "failed":
        raise NotAwaited(
            f"{path!r} waits for its next attempt: let the time pass with after(...) before it fails again\n{story}"
        )
    return step


def _open(story: Story) -> str:
    awaited = story.awaited
    return f"awaited are {', '.join(map(repr, awaited))}" if awaited else "nothing is awaited"


def _an_answer(name: str, said: Any) -> Answer:
    if isinstance(said, Answer):
        return said
    if callable(said):
        raise WrongAnswer(
            f"{name}={getattr(said, '__name__', said)}: call it: {name}={getattr(said, '__name__', 'done')}()"
        )
    raise WrongAnswer(
        f"{name}={said!r} is no answer: say {name}=done(...), refused(...), failed(...) or {SILENCE}()"
    )
