"""Lists over HTTP: filters, pages that neither skip nor repeat, definitions, the outbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doors.house import INPUT, House, order, problem


@pytest.fixture(scope="module")
def listed(shared_house: House) -> House:
    """A house with seven sagas of which three are told apart by labels, two by keys."""
    for number in range(7):
        fields: dict[str, Any] = {"labels": {"number": str(number), "odd": str(number % 2)}}
        if number < 2:
            fields["key"] = f"order-{number}"
        shared_house.ended(shared_house.start_saga(**fields))
    return shared_house


def numbers(house: House, **params: object) -> list[int]:
    """The sagas on all pages, by their labels."""
    return [int(saga["labels"]["number"]) for saga in pages(house, **params)]


def pages(house: House, **params: object) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        asked: Any = {**params, **({"cursor": cursor} if cursor else {})}
        answer = house.http().get("/sagas", params=asked)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield from page["sagas"]
        cursor = page["next"]
        if cursor is None:
            return


def test_pages_neither_skip_nor_repeat(listed: House) -> None:
    for limit in (1, 2, 3, 7, 200):
        assert numbers(listed, limit=limit) == [6, 5, 4, 3, 2, 1, 0]


def test_sagas_started_at_the_same_moment_are_paged_by_id(listed: House) -> None:
    """Seen to fail with only `created_at` in the page's condition."""
    with listed.world.database.begin() as connection:
        before = connection.exec_driver_sql("SELECT id, created_at FROM amends.saga").all()
        connection.exec_driver_sql(
            "UPDATE amends.saga SET created_at = (SELECT max(created_at) FROM amends.saga)"
        )
    try:
        assert sorted(numbers(listed, limit=2)) == list(range(7))
    finally:
        with listed.world.database.begin() as connection:
            for row in before:
                connection.exec_driver_sql(
                    "UPDATE amends.saga SET created_at = %s WHERE id = %s", (row[1], row[0])
                )


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"status": "completed"}, [6, 5, 4, 3, 2, 1, 0]),
        ({"status": ["running", "stuck"]}, []),
        ({"name": "place-order"}, [6, 5, 4, 3, 2, 1, 0]),
        ({"name": "other"}, []),
        ({"label": "odd=1"}, [5, 3, 1]),
        ({"label": ["odd=1", "number=3"]}, [3]),
        ({"label": ["odd=1", "number=2"]}, []),
        ({"key": "order-1"}, [1]),
        ({"key": "order-1", "name": "place-order"}, [1]),
        ({"key": "order-1", "name": "other"}, []),
        ({"key": "order-9"}, []),
        ({"newer": "1h"}, [6, 5, 4, 3, 2, 1, 0]),
        ({"older": "1h"}, []),
        ({"newer": "2100-01-01T00:00:00Z"}, []),
        ({"older": "2100-01-01"}, [6, 5, 4, 3, 2, 1, 0]),
    ],
)
def test_filters_narrow(listed: House, params: dict[str, object], expected: list[int]) -> None:
    assert numbers(listed, limit=4, **params) == expected


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"status": "lost"}, "status.0"),
        ({"label": "odd"}, "label"),
        ({"label": "=1"}, "label"),
        ({"older": "yesterday"}, "older"),
        ({"newer": "-1h"}, "newer"),
        ({"older": "99999d"}, "older"),
        ({"cursor": "abc"}, "cursor"),
        ({"cursor": "WyJ4Il0="}, "cursor"),
        ({"cursor": "eyJ4IjogMX0="}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"key": "nul\x00"}, "key"),
        ({"name": "nul\x00"}, "name"),
        ({"label": "a=nul\x00"}, "label"),
    ],
)
def test_a_malformed_filter_names_the_field(listed: House, params: dict[str, str], field: str) -> None:
    assert problem(listed.http().get("/sagas", params=params)) == (422, "invalid_request", field)


def test_a_definition_is_registered_once_and_never_changed(house: House) -> None:
    body = {"definition": order(version=2).definition.to_json()}
    other = {"definition": order(version=2, undo="put_back").definition.to_json()}

    first, again, changed = (house.http().post("/definitions", json=one) for one in (body, body, other))

    assert (first.status_code, first.json()["created"]) == (201, True)
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert problem(changed) == (409, "version_conflict", "version")
    assert "raise `version=`" in changed.json()["message"]
    assert house.http().get("/definitions/place-order/2").json()["definition"] == body["definition"]
    assert house.http().get("/definitions/place-order").json()["version"] == 2


def test_a_definition_can_be_registered_without_new_sagas_taking_it(house: House) -> None:
    body = {"definition": order(version=2).definition.to_json(), "activate": False}

    house.http().post("/definitions", json=body)

    listed = house.http().get("/definitions").json()["definitions"]
    assert [(one["name"], one["version"], one["active"], one["registered_by"]) for one in listed] == [
        ("place-order", 1, True, "test"),
        ("place-order", 2, False, "local"),
    ]
    started = house.http().post("/sagas", json={"name": "place-order", "input": INPUT, "version": 2}).json()
    assert house.ended(started["id"])["version"] == 2


@pytest.mark.parametrize(
    "definition",
    [
        {},
        {"name": "x"},
        {"name": "x", "version": 1, "root": {"kind": "dream"}},
        {"name": "x", "version": "1", "root": None},
        {"name": 7, "version": 1, "root": {"step": {"name": "a"}}},
    ],
)
def test_an_invalid_definition_is_told_what_is_wrong(shared_house: House, definition: object) -> None:
    answer = shared_house.http().post("/definitions", json={"definition": definition})

    assert problem(answer) == (422, "invalid_definition", "definition")


def test_a_definition_that_breaks_many_rules_is_told_each(shared_house: House) -> None:
    definition = order(version=3).definition.to_json()
    text = json.dumps(definition).replace('"charge"', '"reserve"')

    answer = shared_house.http().post("/definitions", json={"definition": json.loads(text)})

    assert problem(answer)[1] == "invalid_definition"
    assert "reserve" in answer.json()["message"]


def test_an_unknown_definition_tells_which_are_known(shared_house: House) -> None:
    name = shared_house.http().get("/definitions/no-such")
    version = shared_house.http().get("/definitions/place-order/9")

    assert problem(name) == (404, "unknown_definition", "name")
    assert "place-order" in name.json()["message"]
    assert problem(version) == (404, "unknown_definition", "version")
    assert "known versions: 1" in version.json()["message"]
    assert problem(shared_house.http().get("/definitions/place-order/one")) == (
        422,
        "invalid_request",
        "version",
    )


def park(house: House, rows: int) -> list[int]:
    """Rows that nobody can send, in the outbox."""
    sql = """
        INSERT INTO amends.outbox (message_id, routing_key, type, body, parked_at, last_error, attempts)
        SELECT 'm' || n, 'gone.do', 'amends.command', 'secret payload', now(), 'no route for an hour', 7
        FROM generate_series(1, %s) AS n RETURNING id
    """
    with house.world.database.begin() as connection:
        return list(connection.exec_driver_sql(sql, (rows,)).scalars())


def test_parked_rows_are_listed_without_their_payloads(house: House) -> None:
    ids = park(house, 3)

    answer = house.http().get("/outbox", params={"limit": 2})
    rest = house.http().get("/outbox", params={"after": ids[1]}).json()

    assert answer.json()["parked"] == 3
    assert [row["id"] for row in answer.json()["parked_rows"]] == ids[:2]
    assert [row["id"] for row in rest["parked_rows"]] == ids[2:]
    row = answer.json()["parked_rows"][0]
    assert (row["routing_key"], row["attempts"], row["error"]) == ("gone.do", 7, "no route for an hour")
    assert "secret payload" not in answer.text


def test_parked_rows_are_sent_again_and_the_audit_says_who(house: House) -> None:
    ids = park(house, 3)

    one = house.http().post("/outbox/retry", json={"reason": "route is back", "ids": ids[:1]})
    all_ = house.http().post("/outbox/retry", json={"reason": "all of them"})

    assert (one.json(), all_.json()) == ({"retried": 1}, {"retried": 2})
    with house.world.database.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT actor, act, reason, details FROM amends.audit WHERE left(act, 10) <> 'definition' ORDER BY id"
        ).all()
    assert [tuple(row[:3]) for row in rows] == [
        ("local", "outbox_retry", "route is back"),
        ("local", "outbox_retry", "all of them"),
    ]
    assert rows[0][3] == {"ids": ids[:1], "retried": 1}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ids": [1]}, "reason"),
        ({"reason": "x", "ids": ["1"]}, "ids.0"),
        ({"reason": "x", "ids": [0]}, "ids.0"),
        ({"reason": "x", "ids": [2**63]}, "ids.0"),
        ({"reason": "x", "ids": list(range(1, 1002))}, "ids"),
    ],
)
def test_a_malformed_outbox_retry_names_the_field(shared_house: House, body: object, field: str) -> None:
    assert problem(shared_house.http().post("/outbox/retry", json=body)) == (422, "invalid_request", field)
