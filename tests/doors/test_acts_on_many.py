"""Edit, force, finish; and the same act on many sagas, by HTTP, command and SDK (A1 to A4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from amends.outbox import wire
from amends.participants import Client
from amends.participants.errors import CoordinatorRefused, InvalidInput
from tests.doors.house import House, Run, problem
from tests.engine.scripted import reply


@pytest.fixture
def locked_shelf(house: House) -> dict[str, Any]:
    """Charges are refused, and inventory refuses to release until `open` is set. Sagas become stuck."""
    shelf: dict[str, Any] = {"open": False, "never": "never"}
    house.world.participants["payments"].script = lambda command: reply(
        command, "payments", "refused", reason="card declined"
    )

    def inventory(command: wire.Command) -> wire.Reply | None:
        if command.op is wire.Op.UNDO and not shelf["open"]:
            return reply(command, "inventory", "refused", reason="shelf is locked")
        return reply(command, "inventory", shelf["never"] if command.op is wire.Op.FENCE else "done")

    house.world.participants["inventory"].script = inventory
    return shelf


def some_stuck(house: House, number: int, **fields: Any) -> list[str]:
    ids = [house.start_saga(**fields) for _ in range(number)]
    for saga_id in ids:
        house.stuck(saga_id)
    return ids


@pytest.mark.usefixtures("locked_shelf")
def test_a_stuck_saga_is_finished_as_it_is_and_lists_what_was_found(house: House) -> None:
    (saga_id,) = some_stuck(house, 1)

    answer = house.http().post(f"/sagas/{saga_id}/finish", json={"reason": "counted by hand"})

    assert answer.status_code == 200
    saga = house.ended(saga_id)
    assert saga["status"] == "compensated"
    assert saga["overrides"] == ["finish by local: counted by hand (found: never)"]


@pytest.mark.usefixtures("locked_shelf")
def test_a_forced_step_is_settled_and_listed(house: House) -> None:
    (saga_id,) = some_stuck(house, 1)

    body = {"reason": "counted by hand", "path": "reserve", "result": {"shelf": 3}}
    answer = house.http().post(f"/sagas/{saga_id}/force", json=body)

    assert answer.status_code == 200
    saga = house.ended(saga_id)
    assert saga["overrides"] == ["force reserve by local: counted by hand (found: never)"]


def test_a_step_that_fails_for_its_args_gets_others(house: House) -> None:
    """Guard: `step.edited` in `saga/doing.py`; without it the old args are sent again, and again in vain."""
    told: list[Any] = []

    def payments(command: wire.Command) -> wire.Reply | None:
        told.append(json.loads(bytes(command.args)))
        if told[-1]["amount"] == 300:
            return reply(command, "payments", "failed", reason="no such currency")
        return reply(command, "payments", "done")

    house.world.participants["payments"].script = payments
    saga_id = house.start_saga()
    house.world.participants["payments"].wait_for("do", "charge")

    body = {"reason": "in euros", "path": "charge", "args": {"amount": 280}}
    answer = house.http().post(f"/sagas/{saga_id}/edit", json=body)

    assert answer.status_code == 200, answer.text
    saga = house.ended(saga_id)
    assert (saga["status"], told[-1]) == ("completed", {"amount": 280})
    assert saga["overrides"] == ["edit charge by local: in euros"]


def test_a_forced_refusal_has_no_result(house: House) -> None:
    body = {"reason": "x", "path": "reserve", "refuse": True, "result": 3}

    answer = house.http().post(f"/sagas/{house.start_saga()}/force", json=body)

    assert problem(answer) == (422, "invalid_request", "result")


def test_many_are_retried_page_by_page_and_each_is_told(
    house: House, amends: Run, locked_shelf: dict[str, Any]
) -> None:
    ids = some_stuck(house, 5, labels={"shop": "1"}) + some_stuck(house, 1, labels={"shop": "2"})
    locked_shelf["open"] = True
    where = ["--status", "stuck", "--saga", "place-order", "--label", "shop=1", "--reason", "unlocked"]

    dry = amends("sagas", "retry", *where, "--dry-run", "--json", url=house.server.url)
    assert {one["id"] for one in dry.lines} == set(ids[:5])
    assert {one["outcome"] for one in dry.lines} == {"would"}

    done = amends("sagas", "retry", *where, url=house.server.url)

    assert "retry: 5 done, 0 refused" in done.err
    assert [house.ended(saga_id)["status"] for saga_id in ids[:5]] == ["compensated"] * 5
    assert house.http().get(f"/sagas/{ids[5]}").json()["status"] == "stuck"


@pytest.mark.usefixtures("locked_shelf")
def test_pages_follow_one_another_and_refusals_are_told(house: House) -> None:
    ids = some_stuck(house, 3)
    ask = {
        "what": {"act": "skip", "path": "charge", "reason": "x"},
        "where": {"status": ["stuck"]},
        "limit": 2,
    }

    first = house.http().post("/sagas/acts", json=ask).json()
    second = house.http().post("/sagas/acts", json={**ask, "cursor": first["next"]}).json()

    acted = first["sagas"] + second["sagas"]
    assert second["next"] is None
    assert {one["id"] for one in acted} == set(ids)
    assert {one["outcome"] for one in acted} == {"refused"}
    assert "only a stuck step can be skipped" in acted[0]["reason"]


@pytest.mark.usefixtures("locked_shelf")
def test_a_saga_without_an_answer_takes_none_from_the_others(house: House, amends: Run) -> None:
    """One that a newer release keeps, among others. Guard: `return_exceptions` in `http/acts.py`; without it: 503."""
    ids = some_stuck(house, 3)
    newer = text("UPDATE amends.saga SET format = 999 WHERE id = CAST(:id AS uuid)")
    with house.doors.begin() as connection:
        connection.execute(newer, {"id": ids[1]})

    where = ["--status", "stuck", "--saga", "place-order", "--reason", "counted"]
    said = amends("sagas", "finish", *where, url=house.server.url)

    assert "finish: 2 done, 0 refused, 1 unknown" in said.err
    assert f"{ids[1]} place-order: unknown: saga {ids[1]} is kept as a newer release keeps it" in said.out
    assert [house.ended(saga_id)["status"] for saga_id in (ids[0], ids[2])] == ["compensated"] * 2


@pytest.mark.usefixtures("locked_shelf")
def test_a_dry_run_tells_who_would_refuse_and_changes_nothing(house: House, amends: Run) -> None:
    """Guard: the act is asked, dry (`Advancing.would`); without it every saga "would be", and refuses later."""
    (saga_id,) = some_stuck(house, 1)
    skip = ["sagas", "skip", "--status", "stuck", "--step"]

    settled = amends(*skip, "charge", "--reason", "x", "--dry-run", "--json", url=house.server.url)
    fitting = amends(*skip, "reserve", "--reason", "x", "--dry-run", "--json", url=house.server.url)

    assert [one["outcome"] for one in settled.lines] == ["refused"]
    assert "only a stuck step can be skipped" in settled.lines[0]["reason"]
    assert [(one["id"], one["outcome"]) for one in fitting.lines] == [(saga_id, "would")]
    assert house.http().get(f"/sagas/{saga_id}").json()["status"] == "stuck"
    assert house.world.value("SELECT count(*) FROM amends.audit WHERE saga_id IS NOT NULL") == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"what": {"act": "retry", "reason": "x"}, "where": {}}, "where"),
        ({"what": {"act": "explode", "reason": "x"}, "where": {"name": "a"}}, "what"),
        ({"what": {"act": "skip", "reason": "x"}, "where": {"name": "a"}}, "what.skip.path"),
        ({"what": {"act": "retry", "reason": "x"}, "where": {"status": ["completed"]}}, "where.status.0"),
        ({"what": {"act": "retry", "reason": "x"}, "where": {"name": "a", "older": "soon"}}, "where.older"),
    ],
)
def test_a_malformed_act_on_many_names_the_field(shared_house: House, body: object, field: str) -> None:
    assert problem(shared_house.http().post("/sagas/acts", json=body)) == (422, "invalid_request", field)


@pytest.mark.usefixtures("locked_shelf")
def test_acts_on_many_from_code_with_a_dry_run(house: House) -> None:
    """Guard: `ActsOnMany`; and `why` over the same door."""
    (saga_id,) = some_stuck(house, 1)
    client = Client("backoffice", url=house.server.url)

    dry = client.acts.on_many(status=["stuck"], dry_run=True).finish("counted")
    refused = client.acts.on_many(saga="place-order").skip("charge", "counted")
    why = client.why(saga_id)
    done = client.acts.on_many(status=["stuck"], saga="place-order").force("reserve", "counted", result=None)

    assert [(one.id, one.outcome) for one in dry] == [(saga_id, "would")]
    assert [one.outcome for one in refused] == ["refused"]
    assert "only a stuck step can be skipped" in refused[0].reason
    assert [wait.cause for wait in why.waits] == ["stuck"]
    assert [(one.id, one.outcome) for one in done] == [(saga_id, "applied")]
    with pytest.raises(InvalidInput, match="say what came of the step"):
        client.acts.force(saga_id, "reserve", "counted")


def test_a_force_says_what_came_of_the_step(shared_house: House) -> None:
    """Guard: `ForceBody._one_of_them`; without it a body without `result` forces null."""
    body = {"reason": "x", "path": "reserve"}
    nobody = "0190b3a0-0000-7000-8000-000000000000"

    answer = shared_house.http().post(f"/sagas/{nobody}/force", json=body)
    null = shared_house.http().post(f"/sagas/{nobody}/force", json={**body, "result": None})

    assert (answer.status_code, "`result` (null if it has none), or `refuse`" in answer.text) == (422, True)
    assert null.status_code == 404


@pytest.mark.usefixtures("locked_shelf")
def test_a_refusal_is_a_status_of_one_and_nothing_that_fits_is_told(house: House, amends: Run) -> None:
    """Guards: the exit of `_many`, its word for nothing, and the progress on standard error."""
    some_stuck(house, 1)

    refused = amends(
        "sagas", "skip", "--saga", "place-order", "--step", "charge", "--reason", "x", url=house.server.url
    )
    none = amends("sagas", "retry", "--saga", "nosuch", "--reason", "x", url=house.server.url)

    assert refused.status == 1
    assert "skip: 0 done, 1 refused" in refused.err
    assert len(refused.out.splitlines()) == 1
    assert (none.status, none.out) == (0, "")
    assert "no saga that has not ended fits" in none.err


def test_two_operators_at_once_one_wins_and_the_other_is_told(
    house: House, locked_shelf: dict[str, Any]
) -> None:
    (saga_id,) = some_stuck(house, 1)
    locked_shelf["never"] = (
        "unknown"  # The skip's fence is not answered in a way that decides: it stays under way.
    )

    first = house.http().post(f"/sagas/{saga_id}/skip", json={"reason": "a", "path": "reserve"})
    second = house.http().post(f"/sagas/{saga_id}/skip", json={"reason": "b", "path": "reserve"})

    assert sorted([first.status_code, second.status_code]) == [200, 409]


def test_a_service_acts_through_its_client(house: House, locked_shelf: dict[str, Any]) -> None:
    (saga_id,) = some_stuck(house, 1)
    client = Client("backoffice", url=house.server.url)
    with pytest.raises(CoordinatorRefused, match="only a stuck step can be skipped"):
        client.acts.skip(saga_id, "charge", "by mistake")
    locked_shelf["open"] = True

    assert client.acts.retry(saga_id, "unlocked") == "compensating"

    assert client.wait(saga_id).status == "compensated"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["retry", "--reason", "x"], "give one saga's id, or say which"),
        (
            ["retry", "0190b3a0-0000-7000-8000-000000000000", "--status", "stuck", "--reason", "x"],
            "say which",
        ),
        (["finish", "0190b3a0-0000-7000-8000-000000000000", "--dry-run", "--reason", "x"], "for many sagas"),
        (["force", "--saga", "a", "--step", "b", "--reason", "x"], "--result JSON"),
        (["edit", "--saga", "a", "--step", "b", "--args", "{", "--reason", "x"], "is no JSON"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(amends: Run, arguments: list[str], told: str) -> None:
    said = amends("sagas", *arguments)

    assert said.status == 2
    assert told in said.err
