"""Sagas over HTTP: start, look, wait, list; and every way in which a start is answered with a no."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from amends.coordinator import Saga, chain, step
from amends.outbox.wire import saga_id_of
from tests.doors.house import INPUT, House, order, problem
from tests.engine.scripted import reply
from tests.waiting import DEADLINE_S


def test_a_start_is_accepted_and_runs_to_its_end(house: House) -> None:
    answer = house.http().post("/sagas", json={"name": "place-order", "input": INPUT})

    assert answer.status_code == 201
    assert answer.json()["created"] is True
    assert answer.headers["location"] == f"/sagas/{answer.json()['id']}"
    saga = house.ended(answer.json()["id"])
    assert saga["status"] == "completed"
    assert [one["path"] for one in saga["steps"]] == ["reserve", "charge"]
    assert saga["waits_for"] is None


def test_the_same_key_and_input_is_the_same_saga(house: House) -> None:
    body = {"name": "place-order", "input": INPUT, "key": "order-1", "labels": {"shop": "7"}}

    first, again = house.http().post("/sagas", json=body), house.http().post("/sagas", json=body)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"] == saga_id_of("place-order", "order-1")
    assert again.json()["created"] is False


def test_one_key_started_many_times_at_once_is_one_saga(house: House) -> None:
    body = {"name": "place-order", "input": INPUT, "key": "order-1"}

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: house.http().post("/sagas", json=body), range(16)))

    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_the_same_key_with_other_input_is_told_and_changes_nothing(house: House) -> None:
    first = house.start_saga(key="order-1")

    other = house.http().post(
        "/sagas", json={"name": "place-order", "input": {**INPUT, "amount": 1}, "key": "order-1"}
    )

    assert problem(other) == (409, "key_conflict", "key")
    assert first in other.json()["message"]
    assert house.ended(first)["status"] == "completed"


def test_an_unknown_saga_name_is_told_with_the_mend(shared_house: House) -> None:
    answer = shared_house.http().post("/sagas", json={"name": "no-such", "input": INPUT})

    assert problem(answer) == (409, "unknown_definition", "name")
    assert "amends apply" in answer.json()["message"]


def test_an_unknown_version_is_a_conflict(shared_house: House) -> None:
    answer = shared_house.http().post("/sagas", json={"name": "place-order", "input": INPUT, "version": 9})

    assert problem(answer) == (409, "unknown_definition", "version")


@pytest.mark.parametrize(
    ("input_", "field"),
    [
        ({"sku": "tea"}, "amount"),
        ({"sku": "tea", "amount": "secret-card-4111"}, "amount"),
        ({"sku": 7, "amount": 1}, "sku"),
        ([], "input"),
    ],
)
def test_input_that_does_not_fit_the_schema_names_the_field(
    shared_house: House, input_: object, field: str
) -> None:
    answer = shared_house.http().post("/sagas", json={"name": "place-order", "input": input_})

    status, code, named = problem(answer)
    assert (status, code) == (422, "invalid_input")
    assert field in (named or "")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": INPUT}, "name"),
        ({"name": "place-order"}, "input"),
        ({"name": "place-order", "input": INPUT, "version": "1"}, "version"),
        ({"name": "place-order", "input": INPUT, "version": 0}, "version"),
        ({"name": "place-order", "input": INPUT, "version": 2**40}, "version"),
        ({"name": "place-order", "input": INPUT, "labels": {"a": 1}}, "labels.a"),
        ({"name": "place-order", "input": INPUT, "labels": {str(n): "" for n in range(21)}}, "labels"),
        ({"name": "place-order", "input": INPUT, "key": ""}, "key"),
        ({"name": "place-order", "input": INPUT, "key": "x" * 256}, "key"),
        ({"name": "place-order", "input": INPUT, "key": "nul\x00"}, "key"),
        ({"name": "place-order", "input": INPUT, "kye": "typing slip"}, "kye"),
        (["place-order"], "body"),
    ],
)
def test_a_malformed_start_names_the_field(shared_house: House, body: object, field: str) -> None:
    assert problem(shared_house.http().post("/sagas", json=body)) == (422, "invalid_request", field)


def test_an_answer_never_repeats_what_was_sent(shared_house: House) -> None:
    secret = "4111-1111-1111-1111"

    answers = [
        shared_house.http().post(
            "/sagas", json={"name": "place-order", "input": {"sku": secret, "amount": secret}}
        ),
        shared_house.http().post("/sagas", json={"name": "place-order", "input": INPUT, "version": secret}),
        shared_house.http().post(
            "/sagas", json={"name": "place-order", "input": INPUT, "labels": {"card": [secret]}}
        ),
    ]

    assert [answer.status_code for answer in answers] == [422, 422, 422]
    assert not any(secret in answer.text for answer in answers)


def test_an_unknown_saga_is_not_found_and_says_the_mend(shared_house: House) -> None:
    for path in ("", "/timeline"):
        answer = shared_house.http().get(f"/sagas/{uuid4()}{path}")

        assert problem(answer) == (404, "unknown_saga", "saga_id")
        assert "amends sagas list" in answer.json()["message"]
    acted = shared_house.http().post(f"/sagas/{uuid4()}/retry", json={"reason": "why not"})
    assert problem(acted) == (404, "unknown_saga", "saga_id")


def test_what_is_no_id_names_the_field(shared_house: House) -> None:
    assert problem(shared_house.http().get("/sagas/order-1")) == (422, "invalid_request", "saga_id")


def test_payloads_are_shown_only_when_asked_for(house: House) -> None:
    house.world.participants["inventory"].script = lambda command: reply(
        command, "inventory", result={"shelf": 7}
    )
    saga_id = house.start_saga()
    plain = house.ended(saga_id)

    full = house.http().get(f"/sagas/{saga_id}", params={"payloads": True}).json()

    assert (plain["input"], plain["steps"][0]["result"]) == (None, None)
    assert (full["input"], full["steps"][0]["result"]) == (INPUT, {"shelf": 7})


def test_a_pruned_saga_is_gone(house: House) -> None:
    saga_id = house.start_saga(key="order-1")
    house.ended(saga_id)
    with house.world.database.begin() as connection:
        connection.exec_driver_sql("UPDATE amends.saga SET ended_at = now() - interval '1 year'")
        connection.exec_driver_sql(
            "INSERT INTO amends.spent_id (id, input_hash) SELECT id, input_hash FROM amends.saga"
        )
        connection.exec_driver_sql("DELETE FROM amends.saga")

    again = house.http().post("/sagas", json={"name": "place-order", "input": INPUT, "key": "order-1"})

    assert problem(house.http().get(f"/sagas/{saga_id}")) == (410, "pruned_saga", "saga_id")
    assert problem(again) == (409, "key_spent", "key")


def test_a_long_poll_answers_when_the_saga_ends(house: House) -> None:
    waiting = house.world.participants["payments"]
    waiting.script = lambda _: None
    saga_id = house.start_saga()
    command = waiting.wait_for("do", "charge")

    with ThreadPoolExecutor(1) as threads:
        poll = threads.submit(house.ended, saga_id)
        waiting.answer(command)
        assert poll.result(DEADLINE_S)["status"] == "completed"


def test_a_long_poll_that_is_over_tells_the_saga_as_it_is(house: House) -> None:
    house.world.participants["payments"].script = lambda _: None
    saga_id = house.start_saga()
    house.world.participants["payments"].wait_for("do", "charge")

    saga = house.http().get(f"/sagas/{saga_id}", params={"wait": 0.2}).json()

    assert saga["status"] == "running"
    assert saga["waits_for"].startswith("charge: the answer to charge, attempt 1")


def test_a_long_poll_may_come_before_the_start(house: House) -> None:
    saga_id = saga_id_of("place-order", "order-1")

    with ThreadPoolExecutor(1) as threads:
        poll = threads.submit(house.ended, saga_id)
        assert not poll.done()
        house.start_saga(key="order-1")

        assert poll.result(DEADLINE_S)["status"] == "completed"


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan"])
def test_a_wait_beyond_its_limits_names_the_field(shared_house: House, wait: str) -> None:
    answer = shared_house.http().get(f"/sagas/{uuid4()}", params={"wait": wait})

    assert problem(answer) == (422, "invalid_request", "wait")


def test_a_parked_step_says_what_it_waits_for(house: House) -> None:
    house.world.register(Saga("lonely", chain(step("knock", to="nobody", reads=True)), version=1))
    house.world.participant("nobody", lambda _: None)
    answer = house.http().post("/sagas", json={"name": "lonely", "input": None})
    with house.world.database.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO amends.breaker (queue, state, opened_at) VALUES ('nobody.do', 'open', now())"
            " ON CONFLICT (queue) DO UPDATE SET state = 'open', opened_at = now()"
        )

    saga = house.http().get(f"/sagas/{answer.json()['id']}").json()

    assert "nobody has answered on nobody.do for " in saga["waits_for"]


def test_openapi_tells_every_route(shared_house: House) -> None:
    described = shared_house.http().get("/openapi.json").json()

    assert {
        "/sagas",
        "/sagas/{saga_id}",
        "/sagas/{saga_id}/timeline",
        "/sagas/{saga_id}/retry",
        "/sagas/{saga_id}/skip",
        "/sagas/{saga_id}/compensate",
        "/definitions",
        "/definitions/{name}",
        "/definitions/{name}/{version}",
        "/outbox",
        "/outbox/retry",
        "/healthz",
        "/readyz",
        "/metrics",
    } <= set(described["paths"])
    assert shared_house.http().get("/docs").status_code == 200


def test_openapi_tells_every_status_of_an_error_on_the_page(shared_house: House) -> None:
    """A client made of the description knows them all. Guard: `_ERRORS` in http.app."""
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
    of_page = {
        status
        for cell in re.findall(r"^\| ([0-9][0-9, ]*) \|", page, re.M)
        for status in re.findall(r"[0-9]+", cell)
    }
    described = shared_house.http().get("/openapi.json").json()["paths"]

    assert of_page >= {"400", "408", "410", "413", "415", "422", "503"}
    for path, methods in described.items():
        for method, route in methods.items():
            assert of_page <= route["responses"].keys(), (method, path)


def test_what_is_not_there_has_the_one_shape_too(shared_house: House) -> None:
    assert problem(shared_house.http().get("/nothing")) == (404, "not_found", None)
    assert problem(shared_house.http().put("/sagas", json={})) == (405, "method_not_allowed", None)


def test_a_second_version_is_taken_by_new_sagas_only(house: House) -> None:
    house.world.participants["payments"].script = lambda _: None
    old = house.start_saga()
    house.world.register(order(version=2, undo="put_back"))

    new = house.start_saga()

    versions = [house.http().get(f"/sagas/{one}").json()["version"] for one in (old, new)]
    assert versions == [1, 2]
