"""The shop's tests: the saga alone, a handler alone, both under a coordinator, and everything that can crash."""

import pytest

from amends.participants import Ctx, Participant
from amends.testing import CrashFound, crash_everywhere, do, done, nothing, refused, silence, undo
from examples.tested_shop.saga import Sale, sell
from examples.tested_shop.service import Item, Reserve, Reserved, release, reserve, stock, till

TEAPOT = Sale(sku="teapot", cents=1900)


class FakeProvider:
    """A payment provider in memory, as careful as a real one."""

    def __init__(self):
        self.taken = {}
        self.voided = []

    def charge(self, key, cents):
        if key not in self.voided:
            self.taken[key] = cents

    def void(self, key):
        self.taken.pop(key, None)
        self.voided.append(key)


def pieces(session):
    return session.get_one(Item, "teapot", populate_existing=True).pieces


def test_without_money_the_teapot_goes_back(amends_saga):
    run = amends_saga(sell, TEAPOT).given(reserve=done(Reserved("shelf 4"))).when(charge=refused("declined"))

    assert run.commands == [undo("reserve")]


def test_the_counter_is_told_the_place(amends_saga):
    run = amends_saga(sell, TEAPOT).given(reserve=done(Reserved("shelf 4"))).when(charge=done())

    assert run.commands == [do("hand_over")]
    assert run.args("hand_over") == {"place": "shelf 4"}


def test_one_teapot_is_put_aside_however_often_that_is_asked(session, amends_participant):
    first = amends_participant.send(reserve, Reserve("teapot"))

    assert first == done(Reserved("shelf 4"))
    assert amends_participant.redeliver(first) == first
    assert pieces(session) == 2
    assert amends_participant.undo(first) == done()
    assert pieces(session) == 3


def test_what_was_undone_before_it_was_asked_does_not_happen(session, amends_participant):
    late = amends_participant.command(reserve, Reserve("teapot"))

    assert amends_participant.undo(late) == nothing()
    assert amends_participant.send(late).outcome == "refused"
    assert pieces(session) == 3


def test_a_silent_till_costs_a_quarter_of_an_hour_and_no_teapot(session, amends_coordinator, amends_clock):
    amends_coordinator.register(sell)
    amends_coordinator.serve(stock, database=session)
    amends_coordinator.script("till", charge=silence())
    sale = amends_coordinator.start(sell, TEAPOT, key="sale-1")
    assert pieces(session) == 2

    amends_clock.advance("15m")

    assert sale.status == "compensated"
    assert pieces(session) == 3


def test_the_shop_stands_every_crash(session):
    provider = FakeProvider()

    def paid_for_what_was_sold(outcome):
        assert len(provider.taken) == (outcome.status == "completed")

    survived = crash_everywhere(
        sell,
        TEAPOT,
        participants=[stock, till(provider)],
        database=session,
        outside=[provider],
        check=paid_for_what_was_sold,
    )

    assert survived.completed > 50
    assert survived.compensated > 100


def test_a_shop_that_remembers_in_memory_does_not(session):
    aside = []
    forgetful = Participant("stock")

    @forgetful.command(name="reserve")
    def put_aside(cmd: Reserve, ctx: Ctx) -> Reserved:
        aside.append(cmd.sku)
        return reserve(cmd, ctx)

    @put_aside.undo(name="release")
    def put_back(cmd: Reserve, ctx: Ctx) -> None:
        if cmd.sku in aside:
            release(cmd, ctx)

    with pytest.raises(CrashFound, match=r"holds .*pieces=2.* instead of .*pieces=3"):
        crash_everywhere(sell, TEAPOT, participants=[forgetful], database=session)
