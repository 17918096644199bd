"""A participant's contract: what its handlers' signatures give, and what a change of it breaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from amends.outbox.contracts.format import FORMAT, Contract, load, read, written
from amends.outbox.errors import InvalidContract
from amends.outbox.wire import Op
from amends.participants import Ctx, Participant
from amends.participants.breaking import breaks
from amends.participants.contract import contract_of


class Currency(Enum):
    EUR = "EUR"
    USD = "USD"


class Charge(msgspec.Struct):
    card: str
    cents: int
    currency: Currency = Currency.EUR


@dataclass
class Charged:
    payment: str
    fee: int | None = None


class Look(pydantic.BaseModel):
    card: str


def payments() -> Participant:
    made = Participant("payments")

    @made.command
    def charge(cmd: Charge, ctx: Ctx) -> Charged: ...  # type: ignore[empty-body]

    @charge.undo
    def refund(cmd: Charge, charged: Charged) -> None: ...

    @charge.confirm(name="capture")
    def settle(cmd: Charge) -> None: ...

    @made.command
    async def look(cmd: Look) -> dict[str, int]: ...  # type: ignore[empty-body]

    @made.command
    def ping(ctx: Ctx): ...  # type: ignore[no-untyped-def]

    return made


def changed(**commands: Any) -> list[str]:
    """What breaks when these commands are as given (None: gone) instead of as exported."""
    old = contract_of(payments())
    tree = msgspec.to_builtins(old)
    for name, command in commands.items():
        if command is None:
            del tree["commands"][name]
        else:
            tree["commands"][name] = {**tree["commands"][name], **command}
    return [str(one) for one in breaks(old, msgspec.convert(tree, Contract))]


def schema(part: str, **edit: Any) -> dict[str, Any]:
    """The schema of `charge`'s args or result, one definition of it edited."""
    found: dict[str, Any] = msgspec.to_builtins(contract_of(payments()))["commands"]["charge"][part]
    name = {"args": "Charge", "result": "Charged"}[part]
    found["$defs"][name] = {**found["$defs"][name], **edit}
    return found


def properties(part: str) -> dict[str, Any]:
    name = {"args": "Charge", "result": "Charged"}[part]
    return dict(schema(part)["$defs"][name]["properties"])


def test_every_handler_is_there_with_what_it_takes_and_gives() -> None:
    contract = contract_of(payments())

    charge = contract.commands["charge"]
    assert (contract.participant, contract.amends_contract) == ("payments", FORMAT)
    assert contract.handlers() == [
        (Op.CONFIRM, "capture"),
        (Op.DO, "charge"),
        (Op.DO, "look"),
        (Op.DO, "ping"),
        (Op.UNDO, "refund"),
    ]
    assert charge.args["$defs"]["Charge"]["required"] == ["card", "cents"]  # type: ignore[index]
    assert charge.result["$defs"]["Charged"]["required"] == ["payment"]  # type: ignore[index]
    assert list(charge.undo) == ["refund"]
    assert list(charge.confirm) == ["capture"]
    assert charge.undo["refund"].result == charge.result
    assert contract.commands["look"].args["required"] == ["card"]  # type: ignore[index]
    assert contract.commands["look"].result["additionalProperties"] == {"type": "integer"}  # type: ignore[index]
    assert (contract.commands["ping"].args, contract.commands["ping"].result) == (True, True)


def test_a_contract_is_written_and_read_again_and_is_the_same_text_each_time(tmp_path: Path) -> None:
    contract = contract_of(payments())
    (tmp_path / "payments.json").write_text(written(contract))

    assert load(tmp_path / "payments.json") == contract
    assert written(contract_of(payments())) == written(contract)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "amends contract export"),
        ("[]", "Expected `object`"),
        ('{"participant": "p", "commands": {}}', "amends_contract"),
        ('{"amends_contract": 2, "participant": "p", "commands": {}}', "reads 1"),
        ('{"amends_contract": 1, "participant": "p", "commands": {"a": {"args": "x"}}}', "args"),
        ("[" * 100_000, "no contract"),
    ],
)
def test_a_file_that_is_no_contract_is_told(text: str, told: str) -> None:
    with pytest.raises(InvalidContract, match=r"payments\.json") as error:
        read(text.encode(), "payments.json")

    assert told in str(error.value)


def test_nothing_breaks_when_nothing_changed_or_more_is_taken() -> None:
    more = {**properties("args"), "note": {"type": "string", "default": ""}}

    assert changed() == []
    assert changed(charge={"args": schema("args", properties=more)}) == []
    assert changed(charge={"args": True}) == []
    assert changed(charge={"undo": {**contract_of(payments()).commands["charge"].undo, "void": {}}}) == []


@pytest.mark.parametrize(
    ("commands", "told"),
    [
        ({"charge": None}, "charge: the command is gone"),
        ({"charge": {"undo": {}}}, "charge: undo refund: the handler is gone"),
        ({"charge": {"confirm": {}}}, "charge: confirm capture: the handler is gone"),
        (
            {"charge": {"args": schema("args", required=["card", "cents", "currency"])}},
            "charge: args.currency: may be missing, and is required",
        ),
        (
            {
                "charge": {
                    "args": schema("args", properties={**properties("args"), "cents": {"type": "string"}})
                }
            },
            "charge: args.cents: may be an integer, and string is wanted",
        ),
        (
            {
                "charge": {
                    "args": schema("args", properties={**properties("args"), "currency": {"enum": ["EUR"]}})
                }
            },
            "charge: args.currency: may be 'USD', and one of 'EUR' is wanted",
        ),
        (
            {"charge": {"result": schema("result", properties={"payment": {"type": "string"}})}},
            "charge: result.fee: the field is gone",
        ),
        ({"charge": {"result": schema("result", required=[])}}, "charge: result.payment: may be missing"),
        ({"charge": {"result": True}}, "charge: result: may be any type"),
        (
            {"charge": {"undo": {"refund": {"args": {"type": "string"}}}}},
            "charge: undo refund: args: may be an object, and string is wanted",
        ),
    ],
)
def test_what_breaks_is_told_with_its_place(commands: dict[str, Any], told: str) -> None:
    found = changed(**commands)

    assert found, told
    assert found[0].startswith(told)


def test_a_handler_that_undoes_two_commands_belongs_to_both() -> None:
    made = Participant("hotel")

    @made.command
    def book(cmd: Look) -> None: ...

    @made.command
    def hold(cmd: Look) -> None: ...

    @book.undo
    @hold.undo
    def cancel(cmd: Look) -> None: ...

    contract = contract_of(made)

    assert list(contract.commands["book"].undo) == list(contract.commands["hold"].undo) == ["cancel"]
    assert contract.handlers() == [(Op.DO, "book"), (Op.DO, "hold"), (Op.UNDO, "cancel")]
