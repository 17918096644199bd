"""Contracts at the doors: what `amends contract` writes, compares and asks; what `apply --contracts` refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, chain, step
from tests.doors.house import House, Run, Said, problem

PARTICIPANT = """
from msgspec import Struct

from amends.participants import Participant

payments = Participant("payments")

class Charge(Struct):
    amount: int
    {more}

@payments.command
def charge(cmd: Charge) -> None: ...

@charge.undo
def refund(cmd: Charge) -> None: ...

@payments.command
def audit(cmd: dict) -> dict: ...
"""
SAGA = """
from amends.coordinator import Saga, chain, step

pay = Saga("pay", chain(step("charge", to="payments", undo="refund", args={args})), version=1)
"""


@pytest.fixture
def shop(house: House, amends: Run) -> Run:
    """Runs `amends ...` against a running coordinator."""

    def run(*arguments: str, **how: str) -> Said:
        return amends(*arguments, url=house.server.url, **how)

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of this test's own, from which modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def module(here: Path, text: str) -> str:
    name = f"made_{uuid4().hex[:8]}"
    (here / f"{name}.py").write_text(text)
    return name


def exported(shop: Run, here: Path, more: str = "") -> Path:
    file = here / f"{uuid4().hex[:8]}.json"
    name = module(here, PARTICIPANT.format(more=more))
    said = shop("contract", "export", f"{name}:payments", "--output", str(file))
    assert said.status == 0, said
    return file


def test_a_contract_is_exported_to_standard_output_or_a_file(shop: Run, here: Path) -> None:
    said = shop("contract", "export", f"{module(here, PARTICIPANT.format(more=''))}:payments")

    assert said.json == json.loads(exported(shop, here).read_text())
    assert (said.json["participant"], sorted(said.json["commands"])) == ("payments", ["audit", "charge"])


def test_what_breaks_is_listed_and_gives_status_1(shop: Run, here: Path) -> None:
    old, new = exported(shop, here), exported(shop, here, "currency: str")

    said = shop("contract", "check", str(old), str(new))
    lines = shop("contract", "check", str(old), str(new), "--json").lines
    fine = shop("contract", "check", str(new), str(old))

    assert said.status == 1
    assert "charge: args.currency: is missing, and is required" in said.out
    assert lines[0] == {"place": "charge: args.currency", "problem": "is missing, and is required"}
    assert (fine.status, fine.out) == (0, "")
    assert "nothing breaks" in fine.err


def test_a_saga_is_applied_only_if_it_fits(shop: Run, house: House, here: Path) -> None:
    contract = str(exported(shop, here))
    bad = module(here, SAGA.format(args='{"amount": "much"}'))
    good = module(here, SAGA.format(args='{"amount": 3}'))

    refused = shop("apply", f"{bad}:pay", "--contracts", contract)
    assert refused.status == 1
    assert "chain[0] step 'charge': args.amount: may be a string, and integer is wanted" in refused.err
    assert problem(house.http().get("/definitions/pay"))[0] == 404

    assert shop("apply", f"{good}:pay", "--contracts", contract).status == 0
    assert house.http().get("/definitions/pay").status_code == 200


def test_a_file_that_is_no_contract_is_told_before_anything_is_registered(shop: Run, here: Path) -> None:
    (here / "bad.json").write_text("{}")
    name = module(here, SAGA.format(args="{}"))

    for file in ("bad.json", "missing.json"):
        said = shop("apply", f"{name}:pay", "--contracts", file)
        assert said.status == 1
        assert file in said.err


def test_handlers_that_no_live_saga_needs_are_listed(shop: Run, house: House, here: Path) -> None:
    """Needed: the active version, and one that sagas still run in; not one that is only registered."""
    contract = str(exported(shop, here))
    house.world.register(Saga("pay", chain(step("audit", to="payments", reads=True)), version=1))
    running = house.http().post("/sagas", json={"name": "pay", "input": {}})
    assert running.status_code == 201
    house.world.participants["payments"].stop()
    charge = step("charge", to="payments", undo="refund")

    before = shop("contract", "unused", contract, "--json").lines
    house.world.coordinator.catalog.register(
        Saga("pay", chain(charge, step("look", to="payments", reads=True)), version=2).definition,
        actor="test",
        activate=False,
    )
    staged = house.http().get("/participants/payments/needs").json()["needs"]

    # The house's own saga, place-order, charges and refunds.
    assert before == []
    assert {(one["op"], one["name"]) for one in staged} >= {("do", "charge"), ("undo", "refund")}
    assert ("do", "look") not in {(one["op"], one["name"]) for one in staged}


def test_a_running_saga_keeps_its_handlers_needed_when_its_version_is_no_longer_active(
    shop: Run, house: House, here: Path
) -> None:
    """Guard: EXISTS in needs.LIVE_DEFINITIONS."""
    contract = str(exported(shop, here))
    house.world.participants["payments"].stop()
    house.world.register(Saga("pay", chain(step("audit", to="payments", reads=True)), version=1))
    house.http().post("/sagas", json={"name": "pay", "input": {}})
    house.world.register(Saga("pay", chain(step("charge", to="payments", undo="refund")), version=2))

    needs = {
        (one["op"], one["name"]): one["sagas"]
        for one in house.http().get("/participants/payments/needs").json()["needs"]
    }

    assert needs["do", "audit"] == ["pay@1"]
    assert needs["do", "charge"] == ["pay@2", "place-order@1"]
    assert "live sagas need every handler" in shop("contract", "unused", contract).err


def test_what_a_newer_release_needs_is_said_to_be_unknown(
    shop: Run, house: House, here: Path, coordinator_database: Engine
) -> None:
    contract = str(exported(shop, here))
    with coordinator_database.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO amends.definition (name, version, hash, body, active, registered_by) "
            "SELECT 'newer', 1, 'h', jsonb_set(body::jsonb, '{language}', '99')::json, true, 'bob' "
            "FROM amends.definition LIMIT 1"
        )

    said = shop("contract", "unused", contract)

    assert "newer@1" in said.err
    assert said.out == "do audit\n"


def test_apply_holds_calls_against_the_inputs_of_their_children(house: House, shop: Run, here: Path) -> None:
    """Applied together, or registered; of what is neither nothing is known. Guards: both ways in apply._children."""
    contract = exported(shop, here)
    schema = {"type": "object", "properties": {"sku": {"type": "string"}}}
    with_children = """
from amends.coordinator import Saga, call, chain

registered = Saga("calls-registered", chain(call("place-order", {"sku": 5, "amount": 5})), version=1)
together = Saga("calls-together", chain(call("inner", {"sku": 5})), version=1)
unknown = Saga("calls-unknown", chain(call("nobody-knows", {"sku": 5})), version=1)
inner = Saga("inner", chain(call("nobody-knows")), version=1, input=%r)
"""
    name = module(here, with_children % schema)

    def applied(*sagas: str) -> Said:
        return shop("apply", *(f"{name}:{saga}" for saga in sagas), "--contracts", str(contract))

    one, two = applied("registered"), applied("together", "inner")

    wanted = "args.sku: may be an integer, and string is wanted; send what saga"
    assert (one.status, two.status) == (1, 1)
    assert f"{wanted} 'place-order' version 1 takes" in one.err
    assert f"{wanted} 'inner' version 1 takes" in two.err
    assert applied("unknown").status == 0
    assert house.http().get("/definitions/inner").status_code == 404
