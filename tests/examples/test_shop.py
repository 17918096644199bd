"""The sagas of `examples/shop`, told as stories. The rest runs in `make examples`, its gateway in tests/django."""

from __future__ import annotations

from amends.testing import Story, confirm, do, done, refused, told, undo
from examples.shop.cases import newcomer, order
from examples.shop.sagas import Newcomer, Order, fulfil, onboard, place_order

ORDER = Order(**order("7"))
NEWCOMER = Newcomer(**newcomer("eve@example.com"))


def test_an_order_that_cannot_be_fulfilled_gives_the_money_back() -> None:
    paid = Story(place_order, ORDER).given(
        accept=done(), validate=done({"cents": 400}), quote=done({"cents": 500}), charge=done({"cents": 900})
    )
    turned = paid.when(fulfil=refused("tea is sold out"))
    assert turned.commands == [undo("charge")]

    assert turned.when(charge=done()).commands == [undo("accept")]


def test_fulfilment_is_finalised_with_what_all_four_said_and_called_back_if_the_order_is_not_confirmed() -> (
    None
):
    found = Story(fulfil, ORDER, child=True).given(
        reserve=done({"cents": 400}), tax=done({"percent": 19}), address=done({"text": "Quay 1"})
    )
    packed = found.when(fraud=done({"name": "Ann"}))
    assert packed.args("finalise") == {
        "order": "7",
        "cents": 400,
        "tax": {"percent": 19},
        "label": {"text": "Quay 1"},
        "customer": {"name": "Ann"},
    }

    called_back = packed.given(finalise=done(1)).when(told("compensate"))
    assert called_back.commands == [undo("finalise")]
    assert called_back.when(finalise=done()).commands == [undo("reserve")]


def test_mails_of_an_onboarding_are_sent_when_all_else_has_succeeded() -> None:
    """Guard: `confirm`; a mail that was sent by the step itself could not be taken back."""
    known = Story(onboard, NEWCOMER).given(validate=done(), profile=done())
    beside = known.when(role=done({"text": "a customer"}))
    assert set(beside.commands) == {do("welcome"), do("notice"), do("preferences"), do("defaults")}

    written = beside.given(welcome=done(1), notice=done(2), preferences=done())
    turned = written.when(defaults=refused("nobody carries there"))
    assert set(turned.commands) == {undo("welcome"), undo("notice"), undo("preferences")}

    ready = written.given(defaults=done()).when(finalise=done())
    assert set(ready.commands) == {confirm("welcome"), confirm("notice")}
