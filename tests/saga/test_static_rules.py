"""The static rules of the language, as an author meets them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from amends.coordinator import (
    Saga,
    arg,
    chain,
    choose,
    each,
    emit,
    group,
    item,
    outer,
    pivot,
    result,
    retry,
    sleep,
    step,
    wait,
)
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.nodes import Sketch


class Line(msgspec.Struct):
    sku: str


class Order(msgspec.Struct):
    card: str
    lines: list[Line]
    notes: dict[str, str]


def problems(*nodes: Sketch, input: Any = None, **more: Any) -> list[str]:  # noqa: A002 - The word of the language.
    with pytest.raises(InvalidDefinition) as caught:
        Saga("x", chain(*nodes), version=1, input=input, **more)
    return list(caught.value.problems)


def accepted(*nodes: Sketch, input: Any = None) -> None:  # noqa: A002 - The word of the language.
    Saga("x", chain(*nodes), version=1, input=input)


def test_names_are_unique():
    assert problems(step("a", to="x", undo="u"), group(step("a", to="x", undo="u"))) == [
        "chain[1].group[0] step 'a': chain[0] step 'a' has that name already; name one of them otherwise"
    ]


def test_a_reference_names_a_step():
    assert problems(step("a", to="x", undo="u"), step("b", to="x", undo="u", args=[result("c")])) == [
        "chain[1] step 'b': result('c'): there is no step of that name; earlier steps: a"
    ]


@pytest.mark.parametrize(
    "nodes",
    [
        [step("a", to="x", undo="u", args=result("a"))],
        [step("a", to="x", undo="u", args=result("b")), step("b", to="x", undo="u")],
        [group(step("a", to="x", undo="u"), step("b", to="x", undo="u", args={"n": [result("a").id]}))],
        [group(chain(step("a", to="x", undo="u")), chain(step("b", to="x", undo="u", args=result("a"))))],
    ],
)
def test_a_reference_names_a_step_that_is_certain_to_have_run(nodes: list[Sketch]):
    (problem,) = problems(*nodes)

    assert "not certain to have run by then; put it earlier in a chain with this one" in problem


def test_what_ran_before_may_be_referred_to_from_deep_below():
    accepted(
        group(chain(step("a", to="x", undo="u"), step("b", to="x", undo="u", args=result("a")))),
        group(chain(step("c", to="x", undo="u", args=[result("a"), result("b")]))),
        pivot(step("p", to="x", args=result("c"))),
        step("d", to="x", args=result("p")),
    )


def test_a_field_of_the_input_exists():
    (problem,) = problems(step("a", to="x", undo="u", args={"c": arg.crad}), input=Order)

    assert problem == (
        "chain[0] step 'a': arg.crad: the input has no field 'crad' there; it has: card, lines, notes"
    )


def test_a_field_deep_in_the_input_exists():
    (problem,) = problems(step("a", to="x", undo="u", args=arg.lines[0].sko), input=Order)

    assert "the input has no field 'sko' there; it has: sku" in problem
    accepted(
        step("a", to="x", undo="u", args=[arg.lines[0].sku, arg.notes.anything, arg["card"]]), input=Order
    )


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (
            each(arg.lines, step("a", to="x", undo="u", args=item.sko)),
            "item.sko: the input has no field 'sko'",
        ),
        (
            each(arg.lines, step("a", to="x", undo="u", args=item[0].sko), chunk=2),
            "item[0].sko: the input has no",
        ),
        (
            each(arg.lines, each(item.sku, step("a", to="x", undo="u", args=outer.sko))),
            "outer.sko: the input has no",
        ),
        (
            each(arg.lines, each(item.subs, step("a", to="x", undo="u", args=1))),
            "item.subs: the input has no",
        ),
    ],
)
def test_a_field_of_an_item_of_the_input_exists(node: Sketch, told: str):
    """Without `Item` in `of_condition` it is found when the saga runs."""
    assert told in problems(node, input=Order)[0]


def test_an_item_of_an_item_that_is_not_there_is_told_once():
    (problem,) = problems(each(item.x, step("a", to="x", undo="u", args=item.y)), input=Order)

    assert "item.x: no `each` is around that has such an item" in problem


def test_what_an_item_has_may_be_used():
    accepted(each(arg.lines, step("a", to="x", undo="u", args=item.sku)), input=Order)
    accepted(each(arg.lines, step("a", to="x", undo="u", args=[item, item[0].sku]), chunk=2), input=Order)


def test_nobody_can_tell_what_a_looser_schema_holds():
    accepted(step("a", to="x", undo="u", args=arg.a.b), input={"anyOf": [{"type": "object"}]})
    accepted(
        step("a", to="x", undo="u", args=arg.a.b), input={"properties": {}, "additionalProperties": True}
    )
    stored = Saga("x", step("a", to="x", undo="u", args=arg.a.b), version=1).definition.to_json()
    Definition.from_json({**stored, "input": {"$ref": "#/nowhere"}})
    accepted(step("a", to="x", undo="u", args=arg.a), input={"$ref": "#"})
    accepted(
        step("a", to="x", undo="u", args=arg.a),
        input={"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    )


def test_a_saga_has_one_pivot():
    (problem,) = problems(pivot(step("a", to="x")), pivot(step("b", to="x")))

    assert problem.startswith("chain[1].pivot: chain[0].pivot is a pivot already")


def test_a_pivot_stands_in_the_outermost_chain():
    (problem,) = problems(group(pivot(step("a", to="x"))))

    assert problem == "chain[0].group[0].pivot: a pivot stands in the outermost chain; move it there"


def test_a_pivot_wraps_exactly_one_step():
    (problem,) = problems(pivot(chain(step("a", to="x"))))

    assert problem.startswith("chain[0].pivot: a pivot wraps exactly one step")


def test_a_pivot_in_a_pivot_is_refused():
    assert problems(pivot(pivot(step("a", to="x"))))


def test_a_step_says_how_it_is_undone():
    (problem,) = problems(step("a", to="x"))

    assert (
        'Say undo="command", or undo=None, in JSON null (nothing can), or reads=True, in JSON true' in problem
    )


@pytest.mark.parametrize("said", [{"undo": "u", "reads": True}, {"undo": None, "reads": True}])
def test_a_step_says_one_thing_about_its_undo(said: dict[str, Any]):
    (problem,) = problems(step("a", to="x", **said))

    assert "say one" in problem


def test_nothing_is_undone_after_the_pivot():
    (problem,) = problems(pivot(step("p", to="x")), group(step("a", to="x", undo="u")))

    assert problem.startswith("chain[1].group[0] step 'a': nothing is undone at the pivot or after it")
    accepted(
        pivot(step("p", to="x")),
        step("a", to="x", reads=True),
        step("b", to="x", undo=None),
        step("c", to="x"),
    )


def test_args_hold_no_comparison():
    (problem,) = problems(step("a", to="x", undo="u", args={"big": arg.total > 5}))

    assert "args hold a comparison" in problem


@pytest.mark.parametrize("name", ["coordinator", "receipts", "dead", "events"])
def test_a_participant_is_named_unlike_amends_own_queues(name: str):
    (problem,) = problems(step("a", to=name, undo="u"))

    assert "a queue of amends itself" in problem


@pytest.mark.parametrize(
    "length", ["", "5", "5 parsecs", "-1s", "1e3s", float("nan"), float("inf"), -1, 0, "0s", 1e30]
)
def test_a_duration_has_a_number_and_a_unit(length: Any):
    (problem,) = problems(step("a", to="x", undo="u", timeout=length))

    assert problem.startswith("chain[0] step 'a': `timeout` is ")


@pytest.mark.parametrize(
    ("length", "milliseconds"),
    [
        ("200ms", 200),
        ("20s", 20_000),
        ("15m", 900_000),
        ("24h", 86_400_000),
        ("7d", 604_800_000),
        ("1.5s", 1500),
        (2, 2000),
        (0.25, 250),
    ],
)
def test_durations_are_kept_in_milliseconds(length: Any, milliseconds: int):
    saga = Saga("x", step("a", to="x", undo="u", timeout=length), version=1, deadline=length)

    assert saga.definition.deadline == milliseconds
    assert saga.definition.plan.by_name["a"].step.timeout == milliseconds


def test_what_is_no_node_is_refused_where_it_is_written():
    with pytest.raises(TypeError, match=r"chain\(\.\.\.\) takes nodes such as step"):
        chain("a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"retry= takes retry\(\.\.\.\)"):
        step("a", to="x", retry=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a saga is made of nodes"):
        Saga("x", [step("a", to="x")], version=1)  # type: ignore[arg-type]


def test_args_without_a_json_form_are_refused_where_they_are_written():
    with pytest.raises(TypeError, match=r"step 'a': args\['when'\]\[1\]: set has no JSON form"):
        step("a", to="x", args={"when": [1, {2}]})
    with pytest.raises(TypeError, match="the key 1 is no string"):
        step("a", to="x", args={1: 2})


def test_a_policy_says_what_it_takes():
    saga = Saga(
        "x",
        step(
            "a",
            to="x",
            undo="u",
            retry=retry(limit=3),
            undo_retry=retry(first="5s", within="1h"),
            undo_timeout="5s",
        ),
        version=1,
    )
    node = saga.definition.plan.by_name["a"].step

    assert (node.retry.limit, node.retry.within) == (3, None)
    assert (node.undo_retry.first, node.undo_retry.within) == (5_000, 3_600_000)
    assert node.undo_timeout == 5_000


def test_a_first_pause_longer_than_the_longest_is_refused():
    (problem,) = problems(step("a", to="x", undo="u", retry=retry(first="2m")))

    assert "`longest` is shorter than `first`, 2m; make it as long" in problem


APPROVED = wait("approved", timeout="1h", on_timeout="continue")
came = result("approved").exists()
told = step("tell", to="x", undo=None, args={"who": result("approved").who})


@pytest.mark.parametrize(
    "node",
    [
        told,
        each(result("approved").lines, step("pack", to="x", undo=None, args=item)),
        emit("said", result("approved").who, undo=None),
        choose((~came, told)),
        choose((came, step("a", to="x", undo=None)), otherwise=told),
        choose((came | (arg.n == 1), told)),
        choose((result("approved") != 5, told)),
    ],
)
def test_a_part_of_what_a_wait_may_go_on_without_needs_a_guard(node: Sketch):
    """Without `_may_be_null` it is accepted, and the saga turns back once the wait has timed out."""
    (problem,) = problems(APPROVED, node)

    assert "result('approved')." in problem
    assert "choose((result('approved').exists(), ...))" in problem


def test_the_result_of_the_saga_has_no_branch_to_stand_in():
    (problem,) = problems(APPROVED, result=result("approved").who)

    assert problem.startswith("saga: result: result('approved').who: that wait goes on without")


@pytest.mark.parametrize(
    "node",
    [
        choose((came, told)),
        choose((came & (arg.n == 1), told)),
        choose((arg.n == 1, step("a", to="x", undo=None)), (came, chain(told))),
        choose((~came, step("a", to="x", undo=None)), otherwise=told),
        choose((~came | (arg.n == 1), step("a", to="x", undo=None)), otherwise=told),
        choose((~came, step("a", to="x", undo=None)), (arg.n == 1, told)),
        choose((result("approved").yes == True, told)),  # noqa: E712 - A description of a comparison.
        choose((result("approved").ok.exists() | result("approved").who.exists(), told)),
        choose((came, each(arg.lines, told))),
        step("a", to="x", undo=None, args={"approved": result("approved")}),
    ],
)
def test_where_it_is_certain_to_have_come_its_parts_may_be_used(node: Sketch):
    accepted(APPROVED, node)


def test_of_a_wait_in_an_each_the_one_result_needs_the_guard_not_the_list():
    waits = each([1, 2], wait("approved", timeout="1h", on_timeout="continue"))
    first = result("approved")[0]

    accepted(waits, step("a", to="x", undo=None, args=[result("approved"), first]))
    accepted(waits, choose((first.exists(), step("a", to="x", undo=None, args=first.who))))
    assert problems(waits, choose((came, step("a", to="x", undo=None, args=first.who))))


def test_a_key_refers_to_the_input():
    """Without `_fixed_key` every second start is a conflict of keys."""
    node = step("a", to="x", undo="u")

    assert problems(node, key="abc") == [
        "saga: key: it refers to nothing, so every saga would have the same key, and only one could start; "
        'write arg.abc, in JSON {"arg": ["abc"]}'
    ]
    assert Saga("x", chain(node), version=1, key=arg.abc).definition.key is not None


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: problems(sleep(arg.x)), 'chain[0] sleep \'sleep\': `duration` is {"arg": ["x"]}, which is'),
        (lambda: problems(step("a", to=arg.x, undo="u")), 'chain[0] step \'a\': `to` is {"arg": ["x"]}; a'),
        (
            lambda: problems(step("a", to="x", undo="u", retry=retry(first=arg.x))),
            '`first` is {"arg": ["x"]}',
        ),
        (lambda: problems(step("a", to="x", undo="u"), labels=["x"]), "saga: `labels` is to be an object"),
        (lambda: problems(step("a", to="x", undo="u"), deadline=arg.x), 'saga: `deadline` is {"arg": ["x"]}'),
        (
            lambda: problems(choose((5, step("a", to="x", undo="u")))),
            "chain[0].choose[0]: if: it is no condition",
        ),
        (lambda: problems(step("a", to="x", undo="u"), input={"type": "objekt"}), "input: not a JSON Schema"),
    ],
)
def test_what_is_no_part_of_the_language_is_told_in_its_place(made: Any, told: str):
    assert told in made()[0]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: step("a", to=print, undo="u"), "step 'a': `to` is of type builtin_function_or_method"),  # type: ignore[arg-type]
        (lambda: problems(step("a", to="x", undo="u"), labels={"shop": print}), "saga: labels.shop: "),
    ],
)  # fmt: skip
def test_what_has_no_json_form_is_told_in_its_place(made: Any, told: str):
    with pytest.raises(TypeError) as caught:
        made()

    assert str(caught.value).startswith(told)
