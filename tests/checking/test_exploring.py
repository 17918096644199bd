"""Every order of what can happen: sound sagas hold, wrong ones are shown by their shortest run, mutants are killed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from amends.coordinator import (
    Saga,
    arg,
    call,
    chain,
    choose,
    each,
    emit,
    group,
    item,
    pivot,
    retry,
    sleep,
    step,
    wait,
)
from amends.coordinator.checking.abstracting import ways
from amends.coordinator.checking.exploring import Bounds, Budget, Explored, explore
from amends.coordinator.checking.moves import moves
from amends.coordinator.checking.worlds import first, happens, identity
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Send
from amends.coordinator.saga.events import Started
from examples.conditional_commit.tasks import conditional_commit
from tests.checking.mutating import Mutant, install

NO_TIME_LIMIT = 3_600.0


def checked(saga: Saga, *, mishaps: int = 1, acts: int = 0, states_max: int = 100_000) -> Explored:
    bounds = Bounds(mishaps=mishaps, acts=acts, states_max=states_max, seconds_max=NO_TIME_LIMIT)
    return explore(saga.definition, bounds)


def saga(*nodes: object, **more: object) -> Saga:
    return Saga("checked", chain(*nodes), version=1, **more)  # type: ignore[arg-type]


def back(name: str, **more: object) -> object:
    return step(name, to="shop", undo=f"un{name}", **more)  # type: ignore[arg-type]


WHOLE = {
    "chain": saga(back("a"), back("b")),
    "group": saga(group(back("a"), back("b")), step("c", to="shop", reads=True)),
    "pivot": saga(back("a"), pivot(step("p", to="shop")), step("c", to="shop", retry=retry(limit=1))),
    "each": saga(each(arg.lines, back("a", args=item)), back("b")),
    "each, one at a time": saga(each(arg.lines, chain(back("a"), back("b")), at_most=1)),
    "choose": saga(choose((arg.total > 5, back("a")), otherwise=back("b")), back("c")),
    "confirm": saga(back("a", confirm="keep"), back("b", confirm="keep")),
    "confirm at a pivot": saga(back("a", confirm="keep"), pivot(step("p", to="shop"))),
    "wait": saga(back("a"), wait("approved", timeout="1h"), back("b")),
    "emit": saga(back("a"), emit("made", undo="unmade"), back("b")),
    "call": saga(back("a"), call("child"), back("b")),
    "a pivot tried once": saga(back("a"), pivot(step("p", to="shop", retry=retry(limit=0)))),
    "call at a pivot": saga(back("a"), pivot(call("child"))),
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_node_holds_whatever_goes_wrong_once(name: str):
    explored = checked(WHOLE[name])

    assert explored.complete
    assert explored.broken == []
    assert explored.left == []
    assert explored.endings.keys() >= {"completed", "compensated"}


@pytest.mark.parametrize("name", ["chain", "pivot", "confirm", "call"])
def test_an_operator_breaks_nothing(name: str):
    explored = checked(WHOLE[name], acts=1, states_max=12_000)

    assert (explored.broken, explored.left) == ([], [])


def test_an_example_too_large_to_be_explored_whole_says_so_and_holds():
    explored = checked(conditional_commit, states_max=200)

    assert not explored.complete
    assert (explored.broken, explored.left) == ([], [])


def test_what_nothing_undoes_is_shown_by_the_shortest_run_that_leaves_it():
    explored = checked(saga(back("reserve"), step("charge", to="bank", undo=None), back("ship")), mishaps=0)

    (left,) = explored.left
    assert left.finding.path == "charge"
    assert left.run == (
        "the saga starts",
        "shop: reserve happens",
        "reserve is answered: done",
        "bank: charge happens",
        "charge is answered: done",
        "shop refuses ship",
        "ship is answered: refused",
        "shop: undo of reserve happens",
        "undo of reserve is answered: done",
    )


FAN = (
    back("reserve"),
    each(arg.lines, back("pack", args=item)),
    choose((arg.gift == True, step("card", to="shop", undo=None)), otherwise=back("note")),  # noqa: E712
    emit("packed", undo="unpacked"),
    wait("approved", timeout="1h"),
    sleep("1m"),
    pivot(step("ship", to="shop")),
)


def test_what_a_long_run_without_a_mishap_leaves_is_found_before_any_mishap_is_looked_at():
    """Without the order of budgets (one breadth-first search) 3,000 states end long before the wait."""
    explored = checked(saga(*FAN), mishaps=2, acts=1, states_max=3_000)

    assert not explored.complete
    assert Budget(0, 0) in explored.whole
    (left,) = explored.left
    assert (left.finding.path, left.budget) == ("card", Budget(0, 0))
    assert "approved has waited long enough" in left.run


def test_the_run_that_is_shown_takes_the_smallest_budget_and_is_its_shortest():
    """With a mishap a shorter run loses the charge; the one without is shown, as if nothing else were allowed.

    Without the rank of budgets in `_find`, the shorter run with a mishap is.
    """
    naps = (sleep("1m", name=f"nap{number}") for number in range(3))
    nodes = (step("charge", to="bank", undo=None), *naps, back("ship"))

    (without,) = checked(saga(*nodes), mishaps=0).left
    (within,) = checked(saga(*nodes), mishaps=1).left

    assert (within.run, within.budget) == (without.run, Budget(0, 0))


def test_worlds_are_gone_through_once_whatever_the_order_of_budgets():
    """Every budget is whole, and there are as many states as one search with the whole budget finds."""
    explored = checked(WHOLE["chain"], mishaps=1, acts=1)

    assert explored.whole == [Budget(0, 0), Budget(1, 0), Budget(0, 1), Budget(1, 1)]
    assert explored.complete
    assert explored.states == len(reachable(WHOLE["chain"].definition, mishaps=1, acts=1)) - 1


def reachable(definition: Definition, *, mishaps: int, acts: int) -> set[object]:
    """What makes the worlds that can be reached, by the plainest search."""
    (bare,), _ = ways(definition, 1)
    world, _ = happens(bare, first(bare, mishaps=mishaps, acts=acts), Started())
    seen, todo = {identity(world)}, [world]
    while todo:
        for move in moves(bare, todo.pop()):
            key = identity(move.world)
            if key not in seen:
                seen.add(key)
                todo.append(move.world)
    return seen


def test_nothing_is_left_of_what_comes_last_or_only_reads():
    nodes = (back("reserve"), step("look", to="shop", reads=True), step("charge", to="bank", undo=None))

    explored = checked(saga(*nodes), mishaps=0)

    assert explored.left == []


def test_each_step_that_can_need_an_operator_is_named():
    explored = checked(saga(back("a"), pivot(step("p", to="shop")), step("c", to="shop")))

    assert {one.finding.path for one in explored.stuck} == {"a", "c"}


def test_more_mishaps_are_more_states():
    assert checked(WHOLE["chain"], mishaps=0).states < checked(WHOLE["chain"], mishaps=1).states


def test_a_stale_command_is_not_the_awaited_one():
    """Their failures differ (M3). Guard: `step.attempt` in `_of_message`; with a constant both worlds are one."""
    definition = saga(back("a")).definition
    world, _ = happens(definition, first(definition, mishaps=0, acts=0), Started())
    (command,) = world.network
    assert isinstance(command, Send)

    stale = replace(world, network=(replace(command, attempt=command.attempt - 1),))

    assert identity(stale) != identity(world)


def test_items_that_may_differ_leave_the_look_incomplete():
    """Guard: `_count` in abstracting.py: both items of an `each` take one way, three of the nine that there are."""
    chosen = choose((item.a == 1, back("a")), (item.a == 2, back("b")))
    explored = explore(saga(each(arg.lines, chosen)).definition, Bounds(mishaps=0, acts=0))

    assert (explored.ways, explored.ways_total) == (3, 9)
    assert not explored.complete


def test_choices_of_a_branch_that_is_not_taken_are_no_ways():
    """Guard: `_ways` goes into the taken branch alone; the product of all would be 2 * 2 * 2."""
    inner = [choose((arg[f"b{number}"] == 1, back(f"b{number}"))) for number in range(2)]
    explored = explore(saga(choose((arg.a == 1, chain(*inner)))).definition, Bounds(mishaps=0, acts=0))

    assert (explored.ways, explored.ways_total) == (5, 5)
    assert explored.complete


def test_ways_through_choices_are_all_taken():
    nodes = [choose((arg[f"a{number}"] == 1, back(f"a{number}"))) for number in range(3)]

    explored = checked(saga(*nodes), mishaps=0)

    assert (explored.ways, explored.ways_total) == (8, 8)


# fmt: off
MUTANTS = (
    (
        "chain",
        Mutant(
            "C1: what is unknown is undone",
            "saga.backward",
            "if step.did in (Did.UNSENT,",
            "if step.did in (Did.UNSENT, Did.UNKNOWN,",
        ),
    ),
    (
        "chain",
        Mutant(
            "C2: chains are undone in reverse", "saga.backward", "        index -= 1", "        index = -1"
        ),
    ),
    (
        "group",
        Mutant(
            "C2: a group is waited for", "saga.backward", "draft.positions[parent.id + scope] > 0", "False"
        ),
    ),
    (
        "a pivot tried once",
        Mutant(
            "P1: given up, a pivot is fenced", "saga.giving_up", "fence_pivot(draft, f", "turn_back(draft, f"
        ),
    ),
    (
        "pivot",
        Mutant(
            "P1: at the deadline a pivot is fenced", "saga.timers", "fence_pivot(draft, ", "turn_back(draft, "
        ),
    ),
    (
        "pivot",
        Mutant(
            "P1: a pivot is sent once its do is logged", "saga.sending", "draft.pivot = Pivot.SENT", "pass"
        ),
    ),
    (
        "pivot",
        Mutant("P2: a pivot that is done is passed", "saga.forward", "draft.pivot = Pivot.PASSED", "pass"),
    ),
    (
        "confirm",
        Mutant(
            "P2: the decision is stored before a confirm is sent",
            "saga.ending",
            "draft.pivot = Pivot.PASSED",
            "pass",
        ),
    ),
    (
        "confirm",
        Mutant(
            "P2: what was tried is confirmed",
            "saga.confirming",
            "ask(draft, step, Op.CONFIRM)\n            return False",
            "return True",
        ),
    ),
    (
        "chain",
        Mutant(
            "M4: the undo is owed once the do is logged", "saga.sending", "step.did = Did.UNKNOWN", "pass"
        ),
    ),
    (
        "chain",
        Mutant("M1: a settled step stays settled", "saga.replies", "step.phase is not Phase.SETTLED", "True"),
    ),
    (
        "call",
        Mutant(
            "K2: a child is told to compensate",
            "saga.backward",
            "ask(draft, step, Op.UNDO)\n    return False",
            "return _nothing_to_undo(draft, step)",
        ),
    ),
    (
        "call",
        Mutant(
            "K1: a call is owed a compensation from its log", "saga.doing", "step.did = Did.UNKNOWN", "pass"
        ),
    ),
    (
        "chain",
        Mutant(
            "B1: done is told again, not done again",
            "checking.barrier",
            "return row, answer(send, Outcome.DONE, result=row.result, ran_in_round=row.round)",
            "return None",
        ),
    ),
    (
        "chain",
        Mutant(
            "B2: an undo that comes first leaves a tombstone",
            "checking.barrier",
            'return row._replace(undo="nothing", do=row.do or "never"), answer',
            "return row, answer",
        ),
    ),
    (
        "chain",
        Mutant(
            "B2: an undo runs once",
            "checking.barrier",
            "    if row.undo:\n        return row, answer(send, Outcome(row.undo))",
            "    if row.undo == 'nothing':\n        return row, answer(send, Outcome(row.undo))",
        ),
    ),
    (
        "pivot",
        Mutant(
            "B3: a fence takes the do's place",
            "checking.barrier",
            'row = row._replace(do=row.do or "never", final=True)',
            "pass",
        ),
    ),
)
# fmt: on


@pytest.mark.parametrize(("name", "mutant"), MUTANTS, ids=[mutant.rule for _, mutant in MUTANTS])
def test_a_guard_less_is_found(name: str, mutant: Mutant, monkeypatch: pytest.MonkeyPatch):
    install(mutant, monkeypatch)

    assert _noticed(WHOLE[name]), f"nobody misses {mutant.rule!r}"


def _noticed(one: Saga) -> bool:
    try:
        return bool(checked(one, acts=1, states_max=3_000).broken)
    except (AssertionError, KeyError, ValueError):
        return True  # It does not even get through.
