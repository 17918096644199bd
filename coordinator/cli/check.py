"""`amends check`: prove things about a saga before it runs."""

from __future__ import annotations

import click
from rich.progress import Progress, SpinnerColumn, TextColumn

from amends.coordinator.checking.exploring import Bounds, Budget, Counterexample, Explored, explore
from amends.coordinator.checking.forecasts import durations, warnings
from amends.coordinator.cli.command import json_option
from amends.coordinator.cli.loading import load_saga
from amends.coordinator.cli.printing import print_json, say
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.durations import DAY, HOUR, written
from amends.coordinator.saga.leaves import StepNode


@click.command()
@click.argument("sagas", nargs=-1, required=True, metavar="MODULE:SAGA...")
@click.option(
    "--mishaps",
    default=2,
    show_default=True,
    type=click.IntRange(0, 6),
    help="How much may go wrong in one run.",
)
@click.option(
    "--acts",
    default=1,
    show_default=True,
    type=click.IntRange(0, 4),
    help="How often an operator interferes.",
)
@click.option(
    "--seconds",
    default=50.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Stop looking after so long.",
)
@click.option(
    "--states",
    default=1_000_000,
    show_default=True,
    type=click.IntRange(1),
    help="Stop looking after so many states.",
)
@click.option(
    "--allow-left", multiple=True, metavar="STEP", help="This step may stand when the saga compensates."
)
@json_option
@click.pass_context
def check(
    context: click.Context,
    sagas: tuple[str, ...],
    mishaps: int,
    acts: int,
    seconds: float,
    states: int,
    allow_left: tuple[str, ...],
    as_json: bool,
) -> None:
    """Explore every order in which answers, refusals, failures, silence, late and doubled messages, crashes and
    operators' acts can come: `amends check shop.sagas:place_order`.

    Runs in which nothing goes wrong are gone through first, then those with one mishap, and so on. Tells that the
    invariants hold, or how far they were seen to hold, or shows the shortest run in which one does not, or in which
    something is left behind. Exit status 1 if there is such a run. With --json: one object a line.
    """
    bounds = Bounds(mishaps=mishaps, acts=acts, states_max=states, seconds_max=seconds)
    bad = False
    definitions = [load_saga(reference).definition for reference in sagas]
    _known_steps(definitions, allow_left)
    for definition in definitions:
        explored = _explored(definition, bounds, quiet=as_json)
        left = [one for one in explored.left if one.finding.path.partition("/")[0] not in allow_left]
        bad = bad or bool(explored.broken or left)
        if as_json:
            print_json(_json(definition, explored, left))
        else:
            _print(definition, explored, left)
    if bad:
        context.exit(1)


def _known_steps(definitions: list[Definition], names: tuple[str, ...]) -> None:
    steps = {
        name
        for definition in definitions
        for name, place in definition.plan.by_name.items()
        if isinstance(place.node, StepNode)
    }
    for name in names:
        if name not in steps:
            known = ", ".join(sorted(steps)) or "none"
            raise click.BadParameter(f"there is no step {name!r}; steps: {known}", param_hint="--allow-left")


def _explored(definition: Definition, bounds: Bounds, *, quiet: bool) -> Explored:
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, transient=True, disable=quiet) as progress:
        task = progress.add_task(f"{definition.name}: 0 states")
        return explore(
            definition,
            bounds,
            lambda states: progress.update(task, description=f"{definition.name}: {states:,} states"),
        )


def _print(definition: Definition, explored: Explored, left: list[Counterexample]) -> None:
    name = f"{definition.name} version {definition.version}"
    looked = f"{explored.states:,} states, {_looked(explored)}"
    if explored.broken or left:
        for one in (*explored.broken, *left):
            number = f"invariant {one.finding.kind}: " if one.finding.kind.isdigit() else ""
            say(f"{name}: {number}{one.finding.text}. The shortest run:")
            _run(one)
        say(f"({looked})")
    elif explored.complete:
        say(f"{name}: {looked}; invariants 1 to 9 hold, every run ends")
    else:
        say(f"{name}: {looked}; nothing found so far: more --seconds and --states look further")
    for one in explored.stuck:
        say(f"  can need an operator at {one.finding.path}: {one.finding.text} (after {len(one.run)} moves)")
    longest = durations(definition)
    say(
        f"  takes at most {_about(longest.until_pivot)} until it is decided, "
        f"{_about(longest.after_pivot)} after it, {_about(longest.compensating)} to compensate"
    )
    for warning in warnings(definition):
        say(f"  warning: {warning}")


def _about(length: int) -> str:
    """A long time, rounded up to hours."""
    return written(length if length < DAY else -(-length // HOUR) * HOUR)


def _run(one: Counterexample) -> None:
    for number, text in enumerate(one.run, 1):
        say(f"  {number:>3}  {text}")
    say(f"       => {one.finding.text}")


def _looked(explored: Explored) -> str:
    bounds = explored.bounds
    within = f"within {bounds.mishaps} mishaps and {bounds.acts} operator's acts a run"
    if explored.ways > 1:
        within += f", {explored.ways} of {explored.ways_total} ways through its choices"
    if explored.complete:
        return f"all there are {within}"
    return f"not all there are {within}; {_whole(explored.whole)}"


def _whole(budgets: list[Budget]) -> str:
    """What was gone through to its end. A budget within another one says nothing more."""
    if not budgets:
        return "not even the runs with no mishap and no act are complete"
    largest = [
        one
        for one in budgets
        if not any(
            one != other and one.mishaps <= other.mishaps and one.acts <= other.acts for other in budgets
        )
    ]
    return "complete up to " + " or ".join(
        f"{_counted(one.mishaps, 'mishap')} and {_counted(one.acts, 'act')}" for one in largest
    )


def _counted(number: int, what: str) -> str:
    return f"no {what}" if number == 0 else f"{number} {what}" + ("s" if number > 1 else "")


def _json(definition: Definition, explored: Explored, left: list[Counterexample]) -> dict[str, object]:
    longest = durations(definition)
    return {
        "saga": definition.name,
        "version": definition.version,
        "states": explored.states,
        "complete": explored.complete,
        "whole": [one._asdict() for one in explored.whole],
        "mishaps": explored.bounds.mishaps,
        "acts": explored.bounds.acts,
        "ways": explored.ways,
        "ways_total": explored.ways_total,
        "endings": explored.endings,
        "holds": not (explored.broken or left),
        "broken": [_example(one) for one in explored.broken],
        "left": [_example(one) for one in left],
        "stuck": [_example(one) for one in explored.stuck],
        "longest_ms": {
            "until_pivot": longest.until_pivot,
            "after_pivot": longest.after_pivot,
            "compensating": longest.compensating,
        },
        "warnings": list(warnings(definition)),
    }


def _example(one: Counterexample) -> dict[str, object]:
    return {
        "kind": one.finding.kind,
        "path": one.finding.path,
        "text": one.finding.text,
        **one.budget._asdict(),
        "run": list(one.run),
    }
