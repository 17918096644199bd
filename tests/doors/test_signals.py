"""Signals through the doors: HTTP, the command, and the SDK's client (S1, S3)."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from sqlalchemy import text

from amends.coordinator import Saga, wait
from amends.outbox.wire import saga_id_of
from amends.participants import Client, CoordinatorRefused, InvalidInput
from tests.doors.house import SECRETS, TOKENS, House, Run, problem

APPROVE = Saga("approve", wait("approved"), version=1)
JSON = {"Content-Type": "application/json"}
LATER = saga_id_of("approve", "later")


@pytest.fixture
def office(house: House) -> House:
    """A house that knows a saga that waits."""
    house.world.register(APPROVE)
    return house


def waiting(house: House) -> str:
    """A saga that waits for `approved`."""
    return house.world.start_saga("approve").saga_id


def test_a_signal_over_http_is_the_result_of_its_wait(office: House) -> None:
    saga = waiting(office)

    answer = office.http().post(f"/sagas/{saga}/signals/approved", json={"by": "chief"})

    assert answer.status_code == 200
    assert answer.json() == {"id": saga, "name": "approved", "outcome": "accepted", "status": "completed"}
    assert office.world.state(saga).steps["approved"].result == {"by": "chief"}


def test_a_repeated_signal_is_told_to_be_one(office: House) -> None:
    """Guard: the header is the signal's id in http/signals.py."""
    saga = waiting(office)

    outcomes = [
        office.http()
        .post(f"/sagas/{saga}/signals/approved", content="null", headers={**JSON, "Idempotency-Key": "a-1"})
        .json()["outcome"]
        for _ in range(2)
    ]

    assert outcomes == ["accepted", "duplicate"]
    assert office.world.state(saga).steps["approved"].result is None


def test_a_signal_for_a_saga_that_has_not_started_is_kept_and_hidden(office: House) -> None:
    answer = office.http().post(f"/sagas/{LATER}/signals/approved", json=1)

    assert (answer.status_code, answer.json()["outcome"], answer.json()["status"]) == (202, "kept", None)
    assert office.http().get(f"/sagas/{LATER}").status_code == 404
    assert office.http().get(f"/sagas/{LATER}/why").status_code == 404
    assert office.http().get("/sagas").json()["sagas"] == []
    office.world.start_saga("approve", key="later")
    assert office.http().get(f"/sagas/{LATER}").json()["status"] == "completed"


def test_what_cannot_be_taken_is_told(office: House) -> None:
    http, saga = office.http(), waiting(office)
    with office.world.database.begin() as connection:
        connection.execute(
            text("INSERT INTO amends.spent_id (id, input_hash) VALUES (:id, '')"), {"id": LATER}
        )

    unknown = http.post(f"/sagas/{saga}/signals/aproved", json=1)
    nameless = http.post(f"/sagas/{saga}/signals/a%20b", json=1)
    huge = http.post(f"/sagas/{saga}/signals/approved", json="x" * 70_000)
    long_id = http.post(f"/sagas/{saga}/signals/approved", json=1, headers={"Idempotency-Key": "x" * 65})
    pruned = http.post(f"/sagas/{LATER}/signals/approved", json=1)
    http.post(f"/sagas/{saga}/signals/approved", json=1)
    late = http.post(f"/sagas/{saga}/signals/approved", json=1)

    assert problem(unknown) == (404, "unknown_signal", "name")
    assert "it waits for: approved" in unknown.json()["message"]
    assert problem(nameless) == (422, "invalid_request", "name")
    assert problem(huge)[:2] == (413, "too_large")
    assert problem(long_id) == (422, "invalid_request", "Idempotency-Key")
    assert problem(pruned)[:2] == (410, "pruned_saga")
    assert problem(late)[:2] == (409, "saga_ended")


def test_a_signal_needs_the_role_to_start(make_house: Callable[..., House]) -> None:
    guarded = make_house(tokens=TOKENS)

    answer = guarded.http("read").post(f"/sagas/{uuid4()}/signals/approved", json=1)

    assert problem(answer)[:2] == (403, "forbidden")


def test_the_command_gives_a_signal_and_says_what_became_of_it(office: House, amends: Run) -> None:
    saga = waiting(office)

    def shell(*arguments: str) -> str:
        said = amends("sagas", "signal", *arguments, url=office.server.url)
        return said.err if said.status == 0 else f"{said.status}: {said.err}"

    early = shell(LATER, "approved")
    done = shell(saga, "approved", "--payload", '{"by": "chief"}', "--id", "a-1")
    again = shell(saga, "approved", "--payload", '{"by": "chief"}', "--id", "a-1")
    unknown = shell(waiting(office), "aproved")
    as_json = amends("sagas", "signal", waiting(office), "approved", "--json", url=office.server.url).json

    assert "kept" in early
    assert "completed" in done
    assert "before" in again
    assert unknown.startswith("1: ")
    assert "it waits for: approved" in unknown
    assert as_json["outcome"] == "accepted"
    assert office.world.state(saga).steps["approved"].result == {"by": "chief"}


def test_the_client_signals_over_http(make_house: Callable[..., House]) -> None:
    guarded = make_house(tokens=TOKENS)
    guarded.world.register(APPROVE)
    client = Client("shop", prefix=guarded.world.prefix, url=guarded.server.url, token=SECRETS["start"])
    saga = waiting(guarded)

    outcomes = [client.signal_http(saga, "approved", {"by": "chief"}, message_id="a-1") for _ in range(2)]

    assert outcomes == ["accepted", "duplicate"]
    assert client.wait(saga, 10).completed
    with pytest.raises(CoordinatorRefused, match="ended"):
        client.signal_http(saga, "approved")
    with pytest.raises(InvalidInput, match="a saga's id"):
        client.signal_http("order-1", "approved")
