"""Stories of sagas without servers: they read like the specification, and tell what is wrong with a script."""

from __future__ import annotations

import pytest
from msgspec import Struct

from amends.coordinator import (
    Saga,
    arg,
    call,
    chain,
    each,
    emit,
    item,
    pivot,
    result,
    retry,
    step,
    wait,
)
from amends.coordinator.saga.errors import ActRefused
from amends.participants.errors import InvalidInput
from amends.testing import (
    NotAwaited,
    Story,
    UnknownStep,
    WrongAnswer,
    after,
    compensate,
    deadline,
    do,
    done,
    failed,
    fence,
    finish,
    never,
    nothing,
    refused,
    signal,
    silence,
    skip,
    stuck,
    told,
    undo,
)
from examples.order.saga import Order, place_order

ORDER = Order(sku="tea", card="4711", cents=500, address="Main Street 1")


class Parcel(Struct):
    number: int


class Booking(Struct):
    lines: list[str]


book = Saga(
    "book",
    chain(
        each(arg.lines, step("reserve", to="inventory", undo="release", args=item), at_most=2),
        wait("approved", timeout="1h"),
        call("pack", {"lines": arg.lines}, name="packing"),
        pivot(step("dispatch", to="shipping", retry=retry(limit=2))),
        emit("order.sent", result("packing")),
    ),
    version=1,
    input=Booking,
    deadline="15m",
)


def test_a_declined_charge_releases_the_stock(amends_saga: type[Story]) -> None:
    run = (
        amends_saga(place_order, ORDER)
        .given(reserve=done(Parcel(number=7)))
        .when(charge=refused("card declined"))
    )

    assert run.commands == [undo("reserve")]
    assert run.status == "compensating"
    assert run.when(reserve=done()).status == "compensated"


def test_a_story_may_go_on_in_several_ways() -> None:
    reserved = Story(place_order, ORDER).given(reserve=done({"number": 7}))

    charged = reserved.when(charge=done())
    declined = reserved.when(charge=refused())

    assert reserved.status == "running"
    assert reserved.commands == []
    assert (charged.commands, declined.commands) == ([do("dispatch")], [undo("reserve")])
    assert charged.args("dispatch") == {"parcel": {"number": 7}, "to": "Main Street 1"}


def test_silence_is_asked_again_and_a_deadline_undoes_what_is_in_flight() -> None:
    run = Story(place_order, ORDER).given(reserve=done())

    assert run.when(charge=silence()).commands == []  # It backs off first.
    assert run.when(after("32s")).commands == [do("charge")]
    late = run.when(after("15m"))
    assert late.status == "compensating"
    assert late.commands[-1] == undo("charge")
    assert late.when(charge=nothing()).commands == [undo("reserve")]
    assert run.when(deadline()).status == "compensating"


def test_a_failure_that_is_spent_counts_and_time_brings_the_next_attempt() -> None:
    run = Story(place_order, ORDER).when(reserve=failed("busy", retry_after_s=5))

    assert run.commands == []
    assert run.when(after("4s")).commands == []
    assert run.when(after(5)).commands == [do("reserve")]
    with pytest.raises(NotAwaited, match="next attempt is due in 5s"):
        run.when(reserve=silence())


def test_a_pivot_that_stays_silent_is_fenced_and_only_its_outcome_decides() -> None:
    sent = Story(place_order, ORDER).given(reserve=done(), charge=done()).when(compensate())

    assert sent.commands == [fence("dispatch")]
    assert sent.when(dispatch=never()).commands == [undo("charge")]
    assert sent.when(dispatch=done()).status == "completed"


def test_items_signals_children_and_events_are_told_by_name() -> None:
    begun = Story(book, Booking(lines=["a", "b", "c"]))
    assert begun.commands == [do("reserve/0"), do("reserve/1")]

    reserved = begun.when(reserve=[done(), done()]).when({"reserve/2": done()})
    assert reserved.commands == []

    called = reserved.when(signal("approved", {"by": "chief"}))
    assert called.calls == {"packing": {"lines": ["a", "b", "c"]}}
    assert called.saga.steps["approved"].result == {"by": "chief"}
    assert reserved.when(approved=done("yes")).calls == called.calls

    packed = called.when(packing=done({"box": 7}))
    assert packed.commands == [do("dispatch")]
    sent = packed.when(dispatch=done())
    assert sent.events == [("order.sent", {"box": 7})]
    assert sent.orders == [("packing", "settle")]
    assert sent.status == "completed"

    assert called.when(packing=stuck("no box")).newly_stuck == ["packing"]
    assert called.when(packing=refused("no box")).status == "compensating"
    assert reserved.when(after("1h")).status == "compensating"


def test_a_child_reports_to_its_parent_and_obeys_it() -> None:
    held = Story(Saga("pack", chain(step("box", to="store", undo="unbox")), version=1), child=True).when(
        box=done()
    )

    assert held.reports == [done()]
    assert held.status == "running"
    assert held.when(told("settle")).status == "completed"
    assert held.when(told("compensate")).commands == [undo("box")]


def test_what_is_stuck_needs_an_operator() -> None:
    run = Story(place_order, ORDER).given(reserve=done(), charge=refused()).when(reserve=refused("sold"))

    assert run.newly_stuck == ["reserve"]
    assert "sold" in run.stuck["reserve"]
    assert run.when(after("2m")).status == "stuck"
    stuck_ = run.when(after("2m"))
    assert stuck_.when(finish()).when(reserve=never()).status == "compensated"
    assert stuck_.when(skip("reserve")).commands == [fence("reserve", closes="undo")]
    with pytest.raises(ActRefused):
        Story(place_order, ORDER).when(skip("reserve"))


def test_a_late_copy_changes_nothing_and_has_to_be_meant() -> None:
    run = Story(place_order, ORDER).given(reserve=done())

    assert run.when(reserve=done().to("do")).log == run.log
    with pytest.raises(NotAwaited, match=r"settled.*twice or late.*do\('charge'\)"):
        run.when(reserve=done())


def test_the_log_reads_as_what_happened() -> None:
    run = Story(place_order, ORDER).when(reserve=done(7)).when(charge=refused("card declined"))

    assert [str(entry) for entry in run.log] == [
        "the saga starts  ->  do('reserve')",
        "reserve is answered: done(7)  ->  do('charge')",
        "charge is answered: refused('card declined')  ->  undo('reserve')",
    ]


@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        ({"chrage": done()}, UnknownStep, "did you mean 'charge'"),
        ({"charge": done()}, NotAwaited, r"has not begun.*awaited are do\('reserve'\)"),
        ({"reserve": "done"}, WrongAnswer, r"no answer: say reserve=done\(...\)"),
        ({"reserve": done}, WrongAnswer, r"call it: reserve=done\(\)"),
        ({"reserve": never()}, WrongAnswer, "asked to do, which is answered with done, refused"),
        ({"reserve": [done()]}, WrongAnswer, "in no `each`"),
    ],
)
def test_a_wrong_script_is_told_with_its_mend(
    script: dict[str, object], error: type[AssertionError], said: str
) -> None:
    with pytest.raises(error, match=f"(?s){said}"):
        Story(place_order, ORDER).when(script)  # type: ignore[arg-type]


def test_an_item_needs_its_number_and_a_signal_its_name() -> None:
    begun = Story(book, Booking(lines=["a"]))

    with pytest.raises(WrongAnswer, match=r"in an `each`: give a list.*'reserve/0'"):
        begun.when(reserve=done())
    with pytest.raises(UnknownStep, match=r"no signal 'aproved'.*did you mean 'approved'"):
        begun.when(signal("aproved"))
    with pytest.raises(WrongAnswer, match=r'write "200ms"'):
        begun.when(after("soon"))


def test_an_input_of_the_wrong_type_is_refused_as_a_start_is() -> None:
    with pytest.raises(InvalidInput, match="cents"):
        Story(place_order, {"sku": "tea", "card": "1", "cents": "much", "address": "x"})
