"""Definitions at the doors: versions, the way back, suspension, differences; by HTTP and by command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from amends.coordinator import Saga, call, step
from amends.participants import Client
from amends.participants.errors import SagaSuspended
from tests.doors.house import INPUT, House, Run, Said, order, problem

NEXT = """
from amends.coordinator import Saga, arg, chain, step

order = Saga(
    "place-order",
    chain(
        step("reserve", to="inventory", undo="release", args={{"sku": arg.sku}}),
        step("charge", to="payments", undo="{undo}", args={{"amount": arg.amount}}),
    ),
    version={version},
)
"""


@pytest.fixture
def shop(house: House, amends: Run) -> Run:
    """Runs `amends ...` against a running coordinator."""

    def run(*arguments: str, **how: str) -> Said:
        return amends(*arguments, url=house.server.url, **how)

    return run


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a saga's next version into a module that can be imported; its reference."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(version: int, undo: str = "void") -> str:
        name = f"sagas_{uuid4().hex[:8]}"
        (tmp_path / f"{name}.py").write_text(NEXT.format(version=version, undo=undo))
        return f"{name}:order"

    return write


def versions(shop: Run) -> dict[int, bool]:
    return {row["version"]: row["active"] for row in shop("definitions", "list", "--json").lines}


def test_a_version_is_staged_taken_and_taken_back(
    shop: Run, house: House, module: Callable[..., str]
) -> None:
    staged = shop("apply", module(2), "--no-activate")
    assert "new sagas do not take it yet" in staged.err
    assert versions(shop) == {1: True, 2: False}

    taken = shop("definitions", "activate", "place-order", "2", "--reason", "cheaper")
    assert "new sagas of place-order take version 2; before: version 1" in taken.err
    started = house.http().post("/sagas", json={"name": "place-order", "input": INPUT}).json()["id"]
    assert house.ended(started)["version"] == 2

    back = shop("definitions", "activate", "place-order", "1", "--json")
    assert back.json == {"name": "place-order", "version": 1, "before": 2}
    again = shop("definitions", "activate", "place-order", "1")
    assert "unchanged" in again.err
    assert versions(shop) == {1: True, 2: False}


def test_running_sagas_are_counted_with_the_version_they_are_pinned_to(shop: Run, house: House) -> None:
    house.world.register(Saga("slow", step("wait", to="nobody", undo="x"), version=1))
    house.http().post("/sagas", json={"name": "slow", "input": {}})
    house.world.register(Saga("slow", step("wait", to="nobody", undo="y"), version=2))

    listed = {
        (row["name"], row["version"]): row["live"] for row in shop("definitions", "list", "--json").lines
    }

    assert (listed["slow", 1], listed["slow", 2]) == (1, 0)
    assert shop("definitions", "show", "slow", "--version", "1", "--json").json["live"] == 1


def test_a_suspended_saga_is_shown_refused_and_resumed(shop: Run, house: House) -> None:
    suspended = shop("definitions", "suspend", "place-order", "--reason", "prices are wrong")
    repeated = shop("definitions", "suspend", "place-order", "--reason", "another")
    listed, shown = shop("definitions", "list"), shop("definitions", "show", "place-order")
    refused = house.http().post("/sagas", json={"name": "place-order", "input": INPUT, "key": "o-1"})
    by_command = shop("sagas", "start", "place-order", "--input", '{"sku": "tea", "amount": 3}')

    assert "until `amends definitions resume place-order`" in suspended.err
    assert "prices are wrong" in repeated.err
    assert "wait: suspended" in listed.out
    assert "suspended since" in shown.out
    assert "prices are wrong" in shown.out
    assert problem(refused) == (409, "suspended", "name")
    assert by_command.status == 1
    for told in ("prices are wrong", "amends definitions resume place-order"):
        assert told in refused.json()["message"]
        assert told in by_command.err

    resumed = shop("definitions", "resume", "place-order")
    unchanged = shop("definitions", "resume", "place-order", "--json")

    assert "begin again" in resumed.err
    assert unchanged.json == {"name": "place-order", "changed": False, "suspended": None}
    assert house.ended(house.start_saga(key="o-1"))["status"] == "completed"


def test_the_client_is_told_of_a_suspension_in_its_own_words(house: House) -> None:
    client = Client("shop", url=house.server.url)
    started = client.start_http("place-order", INPUT, key="before")
    house.http().post("/definitions/place-order/suspend", json={})

    with pytest.raises(SagaSuspended, match="amends definitions resume"):
        client.start_http("place-order", INPUT, key="after")

    assert client.start_http("place-order", INPUT, key="before") == started


@pytest.mark.parametrize("act", ["activate", "suspend", "resume"])
def test_choosing_takes_the_role_apply(guarded: House, act: str) -> None:
    body = {"version": 1} if act == "activate" else {}

    answers = {
        role: guarded.http(role).post(f"/definitions/place-order/{act}", json=body)
        for role in ("start", "apply")
    }

    assert problem(answers["start"])[:2] == (403, "forbidden")
    assert answers["apply"].status_code == 200
    guarded.http("apply").post("/definitions/place-order/resume", json={})


def test_the_audit_names_the_token(guarded: House) -> None:
    reason = uuid4().hex
    guarded.http("apply").post("/definitions/place-order/suspend", json={"reason": reason})
    guarded.http("operate").post("/definitions/place-order/resume", json={"reason": reason})

    with guarded.world.database.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT act, actor, details->>'name' FROM amends.audit WHERE reason = %(reason)s ORDER BY id",
            {"reason": reason},
        ).all()

    assert [tuple(row) for row in rows] == [
        ("definition suspend", "apply-token", "place-order"),
        ("definition resume", "operate-token", "place-order"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        ("nobody-knows/suspend", {}, (404, "unknown_definition", "name")),
        ("nobody-knows/resume", {}, (404, "unknown_definition", "name")),
        ("nobody-knows/activate", {"version": 1}, (404, "unknown_definition", "name")),
        ("place-order/activate", {"version": 7}, (404, "unknown_definition", "version")),
        ("place-order/activate", {"version": 0}, (422, "invalid_request", "version")),
        ("place-order/activate", {}, (422, "invalid_request", "version")),
        ("place-order/suspend", {"reason": "a\x00b"}, (422, "invalid_request", "reason")),
        ("place-order/suspend", {"why": "x"}, (422, "invalid_request", "why")),
    ],
)
def test_a_wrong_request_is_answered_with_its_field(
    shared_house: House, path: str, body: dict[str, object], wanted: tuple[int, str, str]
) -> None:
    assert problem(shared_house.http().post(f"/definitions/{path}", json=body)) == wanted


def test_two_versions_are_compared_place_by_place(shop: Run, house: House) -> None:
    house.world.register(order(version=2, undo="put-back"))

    table = shop("definitions", "diff", "place-order@1", "place-order@2")
    lines = shop("definitions", "diff", "place-order@1", "place-order", "--json").lines
    answer = house.http().get("/definitions/place-order/1/diff", params={"to": "place-order@2"}).json()

    change = {
        "place": "chain[0] step 'reserve': undo",
        "what": "changed",
        "before": '"release"',
        "after": '"put-back"',
    }
    assert lines == [change]
    assert answer == {"old": "place-order@1", "new": "place-order@2", "changes": [change]}
    for told in change.values():
        assert told in table.out


def test_what_stands_is_compared_with_what_is_not_registered_yet(
    shop: Run, module: Callable[..., str]
) -> None:
    said = shop("definitions", "diff", "place-order", module(2), "--json")

    assert ("chain[1] step 'charge': undo", '"refund"', '"void"') in [
        (one["place"], one["before"], one["after"]) for one in said.lines
    ]


def test_versions_that_do_the_same_are_told_so(shop: Run) -> None:
    said = shop("definitions", "diff", "place-order@1", "place-order")

    assert "place-order@1 -> place-order@1: they do the same" in said.out


@pytest.mark.parametrize(
    ("reference", "status", "told"),
    [
        ("place-order@x", 2, "write it as `place-order@2`"),
        ("place-order@9", 1, "known versions"),
        ("nobody-knows", 1, "known sagas"),
        ("no_module:saga", 1, "there is no module"),
    ],
)
def test_what_cannot_be_compared_is_told(shop: Run, reference: str, status: int, told: str) -> None:
    said = shop("definitions", "diff", "place-order", reference)

    assert said.status == status
    assert told in said.err


@pytest.mark.parametrize("to", ["", "a@0", "a@", "a@1@2", "@1", "x" * 130])
def test_a_wrong_reference_is_answered(shared_house: House, to: str) -> None:
    answer: httpx.Response = shared_house.http().get("/definitions/place-order/1/diff", params={"to": to})

    assert problem(answer)[2] == "to"


def test_a_version_whose_calls_would_come_back_to_it_is_not_activated(house: House) -> None:
    """Guard: `check` in http.definitions.activate."""
    catalog = house.world.coordinator.catalog
    for name, version, called in (("a", 1, "b"), ("b", 1, "c"), ("b", 2, "a"), ("a", 2, "c")):
        catalog.register(Saga(name, call(called), version=version).definition, actor="t", activate=False)
    first = house.http().post("/definitions/a/activate", json={"version": 1})

    answer = house.http().post("/definitions/b/activate", json={"version": 2})

    assert first.status_code == 200
    assert problem(answer)[:2] == (422, "invalid_definition")
    assert "'b' calls 'a' calls 'b'" in answer.json()["message"]
