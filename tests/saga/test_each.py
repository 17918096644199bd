"""`each`: items forwards and backwards, at most so many under way, nested, in chunks; and `choose` among them."""

from __future__ import annotations

from amends.coordinator import arg, chain, choose, each, group, item, outer, pivot, result, step
from tests.saga.story import Story, compensate, do, done, expired, fence, refused, retry, skip, tell, undo

THREE = [{"sku": "a"}, {"sku": "b"}, {"sku": "c"}]


def three(at_most: int = 100) -> Story:
    """A step for each of three items, and one after them."""
    return tell(
        each(arg.lines, step("reserve", to="stock", undo="release", args=item.sku), at_most=at_most),
        step("ship", to="mail", undo=None, args=result("reserve")),
        input={"lines": THREE},
    )


def test_each_item_gets_its_own_step_with_its_own_args():
    story = three()

    assert [(send.path, send.args) for send in story.sent] == [
        ("reserve/0", "a"),
        ("reserve/1", "b"),
        ("reserve/2", "c"),
    ]


def test_no_more_items_are_under_way_than_at_most():
    story = three(at_most=2)
    assert story.commands == [do("reserve/0"), do("reserve/1")]

    story.when({"reserve/1": done()})

    assert story.commands == [do("reserve/2")]
    assert story.when({"reserve/0": done()}).commands == []


def test_results_are_a_list_in_the_order_of_the_items_whatever_the_order_of_the_answers():
    story = three()

    story.when({"reserve/2": done(30), "reserve/0": done(10), "reserve/1": done(20)})

    assert [(send.path, send.args) for send in story.sent] == [("ship", [10, 20, 30])]


def test_inside_the_same_item_a_result_is_that_items_own():
    story = tell(
        each(
            arg.lines,
            chain(step("a", to="x", undo="u"), step("b", to="x", undo="u", args=[result("a"), item.sku])),
        ),
        input={"lines": THREE},
    )

    story.when({"a/1": done("second")})

    assert [(send.path, send.args) for send in story.sent] == [("b/1", ["second", "b"])]


def test_no_items_at_all_are_through_at_once():
    story = tell(
        each(arg.lines, step("a", to="x", undo="u")),
        step("b", to="x", undo="u", args=result("a")),
        input={"lines": []},
    )

    assert [(send.path, send.args) for send in story.sent] == [("b", [])]
    assert story.when(b=refused()).status == "compensated"


def test_chunks_are_lists_of_so_many_items():
    story = tell(
        each([1, 2, 3, 4, 5], step("a", to="x", undo="u", args=item), chunk=2),
        input=None,
    )

    assert [send.args for send in story.sent] == [[1, 2], [3, 4], [5]]


def test_nested_items_know_the_outer_one_and_give_lists_of_lists():
    story = tell(
        each(
            arg.boxes,
            each(item.things, step("pack", to="x", undo="u", args={"box": outer.name, "thing": item})),
        ),
        step("ship", to="x", undo=None, args=result("pack")),
        input={
            "boxes": [
                {"name": "p", "things": [1, 2]},
                {"name": "q", "things": []},
                {"name": "r", "things": [3]},
            ]
        },
    )
    assert [(send.path, send.args) for send in story.sent] == [
        ("pack/0/0", {"box": "p", "thing": 1}),
        ("pack/0/1", {"box": "p", "thing": 2}),
        ("pack/2/0", {"box": "r", "thing": 3}),
    ]

    story.when({"pack/0/1": done("B"), "pack/2/0": done("C"), "pack/0/0": done("A")})

    assert story.sent[0].args == [["A", "B"], [], ["C"]]


def test_items_that_cannot_be_had_turn_the_saga_back():
    story = tell(step("a", to="x", undo="u"), each(result("a").lines, step("b", to="x", undo="u"))).given()

    story.when(a=done({"lines": 5}))

    assert story.commands == [undo("a")]
    assert "what `each` goes over is no list" in story.saga.cause


def test_too_many_items_turn_the_saga_back(monkeypatch):
    """Guard: `if len(value) > ITEMS_MAX` in surroundings.py."""
    monkeypatch.setattr("amends.coordinator.saga.surroundings.ITEMS_MAX", 2)

    story = tell(each(arg.lines, step("b", to="x", undo="u")), input={"lines": THREE})

    assert story.status == "compensated"
    assert "goes over 3 items; 2 are the most" in story.saga.cause


def after_the_pivot() -> Story:
    """After the pivot an `each` has nothing to go over."""
    story = tell(
        pivot(step("p", to="x")),
        group(each(result("p").lines, step("a", to="x")), step("b", to="y")),
        step("c", to="x"),
    )
    return story.given(p=done({})).given(b=done())


def test_after_the_pivot_items_that_cannot_be_had_need_an_operator():
    story = after_the_pivot()

    assert story.status == "stuck"
    (stuck,) = story.saga.stuck_steps
    assert stuck.path.startswith("each@")
    assert "result('p').lines is not there" in stuck.error


def test_retrying_an_each_without_items_leaves_it_stuck_and_says_so_again():
    """Guard: `draft.move(step, Phase.SETTLED)` in forward.again; without it what stands for the `each` stays stuck."""
    story = after_the_pivot()
    path = story.saga.stuck_steps[0].path

    story.when(retry())

    assert story.stuck == [path]
    assert story.status == "stuck"


def test_skipping_an_each_without_items_goes_on_behind_it():
    story = after_the_pivot()

    story.when(skip(story.saga.stuck_steps[0].path))

    assert story.commands == [do("c")]
    assert story.when(c=done()).status == "completed"


# Turned back


def test_a_refusal_gives_back_what_is_under_way_at_once_and_the_rest_from_the_last_down():
    """Guard: `skip=fan.open` in fans.give_back, without which an item is given back twice."""
    story = three(at_most=2).given({"reserve/0": done(), "reserve/1": done()})
    assert story.step("reserve/2").phase == "awaiting"

    story.when({"reserve/2": refused()})

    assert story.commands == [undo("reserve/1"), undo("reserve/0")]
    story.when({"reserve/1": done()})
    assert story.when({"reserve/0": done()}).status == "compensated"


def test_backwards_too_no_more_items_are_under_way_than_at_most():
    """Guard: `len(fan.open) < _at_most(each)` in fans.retreat."""
    story = three(at_most=1).given({"reserve/0": done()}).given({"reserve/1": done()})
    story.given({"reserve/2": done()})

    assert story.when(ship=refused()).commands == [undo("reserve/2")]
    assert story.when({"reserve/2": done()}).commands == [undo("reserve/1")]
    assert story.when({"reserve/1": done()}).commands == [undo("reserve/0")]
    assert story.when({"reserve/0": done()}).status == "compensated"


def test_an_item_that_was_under_way_is_not_given_back_twice():
    story = three(at_most=1).given({"reserve/0": done()})

    assert story.when(compensate()).commands == [undo("reserve/1")]
    assert story.when({"reserve/1": done()}).commands == [undo("reserve/0")]
    assert story.when({"reserve/0": done()}).status == "compensated"


def nested() -> Story:
    """Two outer items, two inner ones, each a chain of two; at most one under way on each level."""
    return tell(
        each(
            [0, 1],
            chain(
                step("open", to="x", undo="u"),
                each([0, 1], chain(step("a", to="x", undo="u"), step("b", to="x", undo="u")), at_most=1),
            ),
            at_most=1,
        )
    )


def test_nested_items_turned_back_in_the_middle_come_back_in_reverse():
    story = nested()
    for path in ("open/0", "a/0/0", "b/0/0", "a/0/1", "b/0/1", "open/1", "a/1/0", "b/1/0", "a/1/1"):
        story.given({path: done()})

    assert story.when({"b/1/1": refused()}).commands == [undo("a/1/1")]
    order = []
    while story.status == "compensating":
        (command,) = story.commands
        order.append(command.path)
        story.when({command.path: done()})

    assert order == ["a/1/1", "b/1/0", "a/1/0", "open/1", "b/0/1", "a/0/1", "b/0/0", "a/0/0", "open/0"]


def test_a_choice_in_an_item_that_was_through_is_undone_by_the_branch_that_ran():
    story = tell(
        each(
            [1, 2],
            choose(
                (item > 1, step("big", to="x", undo="u")),
                otherwise=step("small", to="x", undo="u"),
            ),
        ),
        step("last", to="x", undo="u"),
    ).given({"small/0": done(), "big/1": done()})

    story.when(last=refused())

    assert story.commands == [undo("big/1"), undo("small/0")]


def test_only_what_may_have_happened_in_an_item_is_undone():
    story = tell(
        each(
            [1, 2],
            group(
                step("a", to="x", undo="u"),
                step("look", to="x", reads=True),
                step("final", to="x", undo=None),
            ),
        ),
    ).given({"a/0": done(), "look/0": done(), "final/0": done(), "a/1": done()})

    story.when({"look/1": refused()})

    assert story.commands == [undo("a/1"), fence("final/1", "do"), undo("a/0")]


def test_a_stuck_item_does_not_hold_up_the_others():
    story = three(at_most=1).given({"reserve/0": done()}).given({"reserve/1": done()})
    story.given({"reserve/2": refused()})

    story.given({"reserve/1": expired()}).when(skip("reserve/1"))
    assert story.commands == [fence("reserve/1", "undo")]


def test_items_that_leave_nothing_to_undo_are_not_looked_at_when_the_saga_turns_back():
    story = tell(each([1, 2, 3], step("look", to="x", reads=True), at_most=1), step("b", to="x", undo="u"))
    for number in range(3):
        story.given({f"look/{number}": done()})

    assert story.when(b=refused()).status == "compensated"
