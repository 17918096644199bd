"""What is said to a person who got something wrong names the mend."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amends.coordinator import Saga, arg, each, step
from amends.coordinator.errors import InvalidSchedule
from amends.coordinator.schedules.cron import Cron
from tests.doors.house import House, Run
from tests.engine.scripted import reply

NOBODY = "0190b3a0-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("61 * * * *", "bad minute '61': it is 0 to 59"),
        ("0 3 30 2 *", "bad day-of-month '30': it is 1 to 31, a day that the month has"),
        ("0 3 * 13 *", "bad month '13': it is 1 to 12"),
    ],
)
def test_a_cron_expression_says_which_field_is_at_fault_and_its_range(expression: str, said: str) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        Cron(expression, "UTC")

    assert said in str(refused.value)
    assert "five fields" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (f"/sagas/{NOBODY}/skip", {}, "reason: must be given; also: path"),
        (f"/sagas/{NOBODY}/retry", {"reason": "x", "stp": "a"}, "stp: is no field here"),
        (f"/sagas/{NOBODY}/timers/move", {"reason": "x", "in": "-5m"}, "in: must be a duration"),
        ("/schedules/a b/pause", {"reason": "x"}, "name: must be of the form ^[A-Za-z0-9]"),
    ],
)
def test_a_body_that_does_not_fit_says_what_to_do(
    shared_house: House, path: str, body: object, said: str
) -> None:
    answer = shared_house.http().post(path, json=body)

    assert answer.status_code == 422
    assert answer.json()["message"].startswith(said)


def test_a_wrong_method_and_an_empty_body_say_what_there_is(shared_house: House) -> None:
    wrong = shared_house.http().put("/sagas", json={}).json()["message"]
    empty = shared_house.http().post(
        f"/sagas/{NOBODY}/signals/go", headers={"Content-Type": "application/json"}
    )

    assert wrong.startswith("this path does not take that method")
    assert empty.json()["message"] == "the body is empty: send JSON; `null` where there is nothing to say"


def test_a_step_of_an_each_asks_for_an_item(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.world.register(
        Saga("pack", each(arg.items, step("o", to="planes", undo="land"), at_most=4), version=1)
    )
    house.world.participant(
        "planes", lambda command: reply(command, "planes", "failed", reason="closed", retry_after_s=900.0)
    )
    saga_id = house.http().post("/sagas", json={"name": "pack", "input": {"items": [1, 2]}}).json()["id"]

    answer = house.http().post(f"/sagas/{saga_id}/retry", json={"reason": "x", "path": "o"})

    assert "name an item, such as o/0" in answer.json()["message"]


def test_options_name_a_saga_alike_and_a_list_tells_that_there_is_more(house: House, amends: Run) -> None:
    ids = {house.start_saga() for _ in range(3)}
    for saga_id in ids:
        house.ended(saga_id)

    for option in ("--saga", "--name"):
        listed = amends(
            "sagas", "list", option, "place-order", "--limit", "2", "--json", url=house.server.url
        )
        assert (len(listed.lines), "there are more than these 2" in listed.err) == (2, True)
        assert amends("timers", "list", option, "place-order", url=house.server.url).status == 0
    missing = amends("sagas", "start", "place-order", "--input", "nofile.json", url=house.server.url)
    assert (missing.status, "there is no file 'nofile.json'" in " ".join(missing.err.split())) == (2, True)
