"""A saga against the contracts of its participants: what is refused, with its place and its mend."""

from __future__ import annotations

from typing import Any

import pytest

from amends.coordinator import arg, call, chain, choose, each, emit, item, outer, result, step
from tests.contracts.contracted import charge, problems, reserve


@pytest.mark.parametrize(
    "node",
    [
        charge(),
        charge({"card": "4111", "cents": 5, "currency": "USD", "tags": ["a", arg.card]}),
        charge({"card": arg.anything, "cents": arg.anything.deep.down}),
        charge({"card": arg.card, "cents": arg.cents, "more": 1}),
        charge(arg),
        charge(arg.anything),
        each(arg.lines, reserve({"sku": item.sku})),
    ],
)
def test_a_saga_that_fits_is_let_through(node: Any) -> None:
    assert problems(node) == []


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (charge(do="bill"), "'payments' has no command 'bill'; it has: book, charge; correct the name"),
        (charge(undo="unbook"), "'unbook' is no undo of the command 'charge' of 'payments'; it has: refund"),
        (charge({"cents": arg.cents}), "args.card: is missing, and is required"),
        (charge({"card": arg.card, "cents": "five"}), "args.cents: may be a string, and integer is wanted"),
        (charge({"card": arg.card, "cents": 0}), "args.cents: is 0, and minimum is 1"),
        (charge({"card": "4" * 20, "cents": 1}), "args.card: is '44444444444444444444', and maxLength is 19"),
        (charge({"card": arg.card, "cents": arg.total}), "args.cents: arg.total may be a number, and integer"),
        (charge({"card": arg.note, "cents": 1}), "args.card: arg.note may be null, and string is wanted"),
        (charge({"card": arg.card, "cents": 1, "currency": "GBP"}), "args.currency: may be 'GBP', and one of"),
        (charge({"card": arg.card, "cents": 1, "tags": ["a", 5]}), "args.tags[1]: may be an integer, and string"),
        (charge([1]), "args: may be an array, and object is wanted"),
        (charge("x"), "args: may be a string, and object is wanted"),
        (reserve({"sku": arg.card, "size": 1}), "args.size: is a field that is not taken"),
        (reserve(arg), "args.sku: arg is missing, and is required"),
        (each(arg.lines, reserve({"sku": item.sku, "n": item.n})), "args.n: item.n may be a string, and integer"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_place_and_mend(node: Any, told: str) -> None:
    found = problems(node)

    assert found
    assert told in found[0]
    assert found[0].startswith("chain[0]")
    assert "; " in found[0]


def test_results_of_earlier_steps_are_known_by_their_contracts() -> None:
    found = problems(charge(), reserve({"sku": result("charge").payment}))

    assert found == [
        "chain[1] step 'reserve': args.sku: result('charge').payment may be an integer, and string is wanted; "
        "send what the command 'reserve' of 'inventory' takes"
    ]


def test_every_participant_needs_a_contract_once_contracts_are_given() -> None:
    found = problems(charge(), reserve({"sku": arg.card}), given=("payments",))

    assert found == [
        "chain[1] step 'reserve': no contract of 'inventory' is given (given: payments); add --contracts FILE"
    ]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert len(problems(charge({"cents": "x"}, undo="void"), reserve({}, do="hold"))) == 4


# `reserve` in a chunk takes a list of lines, which this contract does not know; `pack` does.
ALL = ("payments", "inventory", "packing-house")


def pack(args: Any, name: str = "pack") -> Any:
    return step(name, to="packing-house", do="pack", undo="unpack", args=args)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"sku": arg.card}, None),
        ({"sku": arg.anything, "pieces": arg.cents}, None),
        (arg, "args.sku: arg is missing, and is required"),
        ({"sku": arg.cents}, "args.sku: arg.cents may be an integer, and string is wanted"),
        ({"sku": arg.card, "pieces": 0}, "args.pieces: is 0, and minimum is 1"),
        ({"sku": arg.card, "size": 1}, "args.size: is a field that is not taken"),
        (
            {"sku": result("charge").payment},
            "args.sku: result('charge').payment may be an integer, and string is wanted",
        ),
    ],
)
def test_the_input_of_a_child_is_held_against_its_schema(args: Any, told: str | None) -> None:
    """Guard: `_call` in contracts."""
    found = problems(charge(), call("packing", args))

    wanted = f"chain[1] call 'packing': {told}; send what saga 'packing' version 4 takes"
    assert found[:1] == ([] if told is None else [wanted])


def test_nothing_is_known_of_a_child_that_nobody_knows() -> None:
    assert problems(call("unknown", {"sku": 5}), call("packing", {"sku": 5}, name="old", version=3)) == []


@pytest.mark.parametrize(
    "node",
    [
        each(arg.lines, pack(item), chunk=10),
        each(arg.lines, pack([item[0]]), chunk=10),
        each([{"sku": 1}, {"sku": "two"}], pack([item])),
        each(arg.lines, each([1], pack([outer])), chunk=10),
    ],
    ids=["chunk", "of a chunk", "any of a literal list", "list of lists"],
)
def test_items_of_chunks_and_of_literal_lists_are_known(node: Any) -> None:
    """A chunk is a list of items; of a literal list each item counts. Guards: `each.chunk`, `_item` in known_values."""
    (found,) = problems(node, given=ALL)

    assert "step 'pack': args" in found
    assert "is wanted; send what the command 'pack'" in found


def test_chunks_that_fit_are_let_through() -> None:
    assert problems(each(arg.lines, reserve({"sku": item[0].sku}), chunk=10), given=ALL) == []
    assert problems(each(arg.anything, pack(item), chunk=10), given=ALL) == []


def test_what_is_no_list_is_not_gone_over() -> None:
    """Guard: the case of EachNode in contracts.problems."""
    assert problems(each(arg.card, reserve({"sku": item}))) == [
        "chain[0].each: over: arg.card may be a string, and array is wanted; go over a list"
    ]


def test_a_result_is_the_items_own_inside_an_each_and_a_list_outside() -> None:
    """Guard: the loop over `_around` in Known._result."""
    inside = each(arg.lines, chain(pack([], "first"), reserve({"sku": result("first").box.size})))
    outside = [each(arg.lines, pack([])), reserve({"sku": result("pack")})]
    one = [each(arg.lines, pack([])), reserve({"sku": result("pack")[0].box.size})]

    told = [problems(*nodes, given=ALL) for nodes in ([inside], outside, one)]

    assert [found[0].partition("args.sku: ")[2].partition(";")[0] for found in told] == [
        "result('first').box.size may be an integer, and string is wanted",
        "result('pack') may be an array, and string is wanted",
        "result('pack')[0].box.size may be an integer, and string is wanted",
    ]


LOST = (
    "result('pack').bax: the result of 'pack' has no field 'bax' there; it has: box, free; correct the name"
)


@pytest.mark.parametrize(
    ("node", "place"),
    [
        (emit("packed", {"box": result("pack").bax}, undo=None), "chain[1] emit 'packed': data: "),
        (reserve({"sku": result("pack").bax}), "chain[1] step 'reserve': args: "),
        (call("unknown", [result("pack").bax]), "chain[1] call 'unknown': args: "),
        (each(result("pack").bax, reserve({"sku": item})), "chain[1].each: over: "),
        (choose((result("pack").bax == 1, charge())), "chain[1].choose[0]: if: "),
    ],
)
def test_a_field_that_no_result_has_is_told_wherever_it_is_used(node: Any, place: str) -> None:
    """A typing slip. Guards: `_lost` at each kind of node in contracts."""
    found = problems(pack([]), node, given=ALL)

    assert [one for one in found if place + LOST in one], found


def test_a_field_that_no_result_has_is_told_of_the_sagas_own_result() -> None:
    (found,) = problems(pack([]), given=ALL, result={"size": result("pack").box.sice})

    assert found.startswith("saga: result: result('pack').box.sice: ")
    assert "no field 'sice' there; it has: size" in found


@pytest.mark.parametrize("value", [result("pack").free.x, result("pack").box.size, result("reserve").x])
def test_a_field_that_may_be_there_is_let_through(value: Any) -> None:
    """An open object, a known field, a result of which nothing is said."""
    assert problems(pack([]), reserve({"sku": "a"}), emit("e", [value], undo=None), given=ALL) == []


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"to": arg.card}, []),
        ({"at": arg.cents}, []),
        ({"at": arg.card}, ["args.to: is missing, and is required"]),
        ({"box": 1}, ["args.to: is missing, and is required"]),
    ],
)
def test_one_of_several_forms_is_enough(args: Any, told: list[str]) -> None:
    """Guard: the branches in contracts._misfits."""
    found = problems(step("label", to="packing-house", undo="unpack", args=args), given=ALL)

    assert [one.partition("step 'label': ")[2].partition(";")[0] for one in found] == told


def test_a_field_that_is_not_taken_is_told_once() -> None:
    """Guard: `part.schema is not False` in contracts._misfits."""
    assert len(problems(reserve({"sku": arg.card, "size": 1}))) == 1
