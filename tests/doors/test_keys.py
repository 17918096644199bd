"""Key and labels that a definition makes of the input, by HTTP, CLI and SDK."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from amends.coordinator import Saga, arg, step
from amends.outbox.wire import saga_id_of
from amends.participants import Client, InvalidInput, StartConflict
from tests.doors.house import House, Run, problem
from tests.engine.world import start

INPUT = {"number": 7, "shop": "north"}
SALE = Saga(
    "sale",
    step("reserve", to="inventory", undo="release"),
    version=1,
    key=arg.number,
    labels={"shop": arg.shop},
)
ID = saga_id_of("sale", "7")


@pytest.fixture
def sales(house: House) -> House:
    """A coordinator that knows a saga which makes its key of its input."""
    house.world.register(SALE)
    return house


def test_over_http_the_same_input_is_the_same_saga(sales: House) -> None:
    body = {"name": "sale", "input": INPUT}

    first, again = sales.http().post("/sagas", json=body), sales.http().post("/sagas", json=body)
    other = sales.http().post("/sagas", json={**body, "input": {**INPUT, "shop": "south"}})
    without = sales.http().post("/sagas", json={**body, "input": {"shop": "north"}})

    assert [(one.status_code, one.json()["id"]) for one in (first, again)] == [(201, ID), (200, ID)]
    assert problem(other) == (409, "key_conflict", "key")
    assert "key '7' of saga 'sale'" in other.json()["message"]
    assert problem(without) == (422, "invalid_input", "number")
    assert "the key, made of arg.number" in without.json()["message"]


def test_over_http_it_is_found_by_its_labels_and_its_key(sales: House) -> None:
    sales.http().post("/sagas", json={"name": "sale", "input": INPUT})

    found = [
        sales.http().get("/sagas", params=wanted).json()["sagas"]
        for wanted in ({"label": "shop=north"}, {"key": "7"}, {"label": "shop=south"})
    ]

    assert [[one["id"] for one in sagas] for sagas in found] == [[ID], [ID], []]


def test_by_command_it_is_started_and_found_by_its_labels(sales: House, amends: Run) -> None:
    url = sales.server.url

    started = amends("sagas", "start", "sale", "--input", json.dumps(INPUT), "--json", url=url)
    found = amends("sagas", "list", "--label", "shop=north", "--json", url=url)
    shown = amends("sagas", "list", "--label", "shop=north", url=url)

    assert started.json["id"] == ID
    assert [line["id"] for line in found.lines] == [ID]
    assert ID in shown.out


def test_the_client_knows_the_id_at_once_where_it_has_the_saga(sales: House) -> None:
    """And is told alike, by itself or by the coordinator, what gives none."""
    client = Client("shop", url=sales.server.url)

    assert client.start_http(SALE, INPUT) == ID
    with pytest.raises(StartConflict):
        client.start_http(SALE, {**INPUT, "shop": "south"})
    with pytest.raises(InvalidInput, match=r"saga 'sale': the key, made of arg\.number: .* has no field"):
        client.start_http(SALE, {"shop": "north"})
    assert client.start_http(SALE, INPUT, key="mine") == saga_id_of("sale", "mine")
    assert client.wait(ID, 20).labels == {"shop": "north"}


def test_the_id_of_a_start_by_name_leads_to_the_saga(sales: House) -> None:
    """Everything that looks at one saga does. Guards: `_find`, ENDED, and ids of STATES and LOG in queries."""
    promised = start("sale", INPUT)
    sales.world.send_start(promised)
    client = Client("shop", url=sales.server.url)

    view = client.wait(promised.saga, 20, input=INPUT)

    assert (view.id, view.status, view.key) == (ID, "completed", "7")
    looks: list[tuple[str, Callable[[str], str]]] = [
        ("timeline", lambda text: str(json.loads(text)["entries"])),
        ("why", lambda text: json.loads(text)["id"]),
        ("drawing?format=mermaid", lambda text: text),
    ]
    for look, shown in looks:
        by_promised, by_id = (sales.http().get(f"/sagas/{id_}/{look}") for id_ in (promised.saga, ID))
        assert by_promised.status_code == 200, look
        assert shown(by_promised.text) == shown(by_id.text), look
    with pytest.raises(StartConflict):
        client.wait(promised.saga, 20, input={**INPUT, "shop": "south"})
