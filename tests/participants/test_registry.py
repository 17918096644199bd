"""The registry: what can be a handler, and what is said of what cannot."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from amends.outbox.wire import Op
from amends.participants import Ctx, InvalidHandler, Participant
from amends.participants.context import idempotency_key
from amends.participants.signature import Slot


class Charge(Struct):
    amount: int


def test_a_handler_is_called_by_its_functions_name_and_stays_a_function() -> None:
    payments = Participant("payments")

    @payments.command
    def charge(cmd: Charge, ctx: Ctx) -> int:
        """Takes money."""
        return cmd.amount

    @charge.undo
    def refund(cmd: Charge, charged: int, ctx: Ctx) -> str:
        return f"{cmd.amount} {charged}"

    @charge.confirm(name="capture")
    def settle(cmd: Charge) -> None: ...

    assert charge(Charge(7), None) == 7  # type: ignore[arg-type]
    assert refund(Charge(7), 3, None) == "7 3"  # type: ignore[arg-type]
    assert charge.__doc__ == "Takes money."
    assert [payments.names(op) for op in (Op.DO, Op.UNDO, Op.CONFIRM)] == [
        ("charge",),
        ("refund",),
        ("capture",),
    ]


def slots(function: Any, op: Op = Op.DO) -> list[Slot]:
    """What a handler's parameters are given."""
    participant = Participant("p")
    command = participant.command(name="work")(function if op is Op.DO else lambda: None)
    if op is Op.UNDO:
        command.undo(name="unwork")(function)
    handler = participant.find(op, "work" if op is Op.DO else "unwork")
    assert handler is not None
    return list(handler.signature.slots)


def test_the_context_is_known_by_its_type_or_its_name_wherever_it_stands() -> None:
    assert slots(lambda: None) == []
    assert slots(lambda ctx: None) == [Slot.CTX]
    assert slots(lambda cmd: None) == [Slot.COMMAND]
    assert slots(lambda ctx, cmd: None) == [Slot.CTX, Slot.COMMAND]

    def by_type(how: Ctx, what: Charge) -> None: ...

    assert slots(by_type) == [Slot.CTX, Slot.COMMAND]
    assert slots(lambda cmd, result, ctx: None, Op.UNDO) == [Slot.COMMAND, Slot.RESULT, Slot.CTX]
    assert slots(lambda cmd, ctx: None, Op.UNDO) == [Slot.COMMAND, Slot.CTX]


def test_further_parameters_with_defaults_are_left_alone() -> None:
    def with_default(cmd: Charge, ctx: Ctx, rate: float = 1.5, *, dry: bool = False) -> None: ...

    assert slots(with_default) == [Slot.COMMAND, Slot.CTX]


def test_a_type_that_is_local_to_the_place_of_the_decorator_is_found() -> None:
    class Local(Struct):
        amount: int

    participant = Participant("p")

    @participant.command
    def work(cmd: Local) -> int:
        return cmd.amount

    handler = participant.find(Op.DO, "work")
    assert handler is not None
    assert handler.signature.arguments(b'{"amount":7}', None, None) == [Local(7)]  # type: ignore[arg-type]


def three(a: int, b: int, c: int) -> None: ...
def keyword(cmd: Charge, *, how: str) -> None: ...
def variable(*commands: Charge) -> None: ...
def unknown(cmd: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unreadable(cmd: Participant) -> None: ...


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (three, "parameter 'b'"),
        (keyword, "parameter 'how'"),
        (variable, "parameter 'commands'"),
        (unknown, "'Missing', which is not defined"),
        (unreadable, "parameter 'cmd'"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_with_its_place(function: Any, says: str) -> None:
    with pytest.raises(InvalidHandler, match=says) as caught:
        Participant("p").command(function)

    assert f"{__file__}:" in str(caught.value)


def test_a_name_is_taken_once_per_op() -> None:
    participant = Participant("p")
    participant.command(name="work")(lambda: None)

    with pytest.raises(InvalidHandler, match="already has a handler for do 'work'"):
        participant.command(name="work")(lambda: None)
    participant.command(name="other")(lambda: None).undo(name="work")(lambda: None)


def test_one_function_may_undo_two_commands() -> None:
    participant = Participant("p")

    def undo() -> None: ...

    participant.command(name="a")(lambda: None).undo(undo)
    participant.command(name="b")(lambda: None).undo(undo)

    assert participant.names(Op.UNDO) == ("undo",)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "1a", "-a", "a/b", "x" * 121])
def test_a_name_that_cannot_be_part_of_a_queues_is_refused(name: str) -> None:
    with pytest.raises(InvalidHandler, match="cannot name a participant"):
        Participant(name)


def test_an_idempotency_key_tells_saga_step_and_op_and_is_never_too_long_for_those_who_take_it() -> None:
    saga = "12345678-1234-5678-1234-567812345678"

    short = idempotency_key(saga, "reserve/3", Op.DO)
    long = {idempotency_key(saga, "x" * length, Op.DO) for length in (290, 291)}

    assert short == f"{saga}/reserve/3/do"
    assert len(long) == 2
    assert all(len(key) <= 255 for key in long)


def test_what_obeys_several_at_once_is_plain_and_one_for_each_command() -> None:
    participant = Participant("one")

    @participant.command
    def work(cmd: str, ctx: Ctx) -> str:
        return cmd

    @work.together
    def work_all(cmds: list[str], ctxs: list[Ctx]) -> list[str]:
        return cmds

    assert participant.together("work") is work_all
    assert participant.together("other") is None
    with pytest.raises(InvalidHandler, match="already"):
        work.together(lambda cmds, ctxs: cmds)

    async def later(cmds: list[str], ctxs: list[Ctx]) -> list[str]:
        return cmds

    with pytest.raises(InvalidHandler, match="async"):
        work.together(later)

    @participant.command(external=True)
    def call(cmd: str) -> str:
        return cmd

    with pytest.raises(InvalidHandler, match="external"):
        call.together(lambda cmds, ctxs: cmds)
