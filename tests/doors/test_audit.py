"""The audit is read: by command and HTTP, page by page, narrowed down."""

from __future__ import annotations

import json
from typing import Any

from amends.outbox import wire
from tests.doors.house import House, Run, problem
from tests.engine.scripted import reply


def acts(house: House, **wanted: object) -> list[dict[str, Any]]:
    answer = house.http().get("/audit", params=wanted)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["acts"])


def test_who_did_what_is_listed_the_last_first_and_narrowed_down(house: House, amends: Run) -> None:
    """Guard: `coordinator.auditing`; there was no way to read the audit."""
    house.world.participants["payments"].script = _strange
    saga_id = house.start_saga()
    house.world.participants["payments"].wait_for("do", "charge")
    body = {"reason": "in euros", "path": "charge", "args": {"amount": 280}}
    assert house.http().post(f"/sagas/{saga_id}/edit", json=body).status_code == 200
    house.ended(saga_id)

    (edit,) = acts(house, saga=saga_id)
    everything = acts(house)

    assert (edit["act"], edit["actor"], edit["path"], edit["reason"]) == (
        "edit",
        "local",
        "charge",
        "in euros",
    )
    assert edit["details"] == {"args": {"amount": 280}}
    assert everything[0] == edit
    assert {one["act"] for one in everything} == {"definition apply", "edit"}
    assert acts(house, actor="nobody") == acts(house, since="2100-01-01T00:00:00Z") == []
    assert acts(house, act="edit", actor="local", since="1h") == [edit]
    said = amends("audit", saga_id, url=house.server.url)
    assert "in euros" in said.out
    assert amends("audit", "--act", "edit", "--json", url=house.server.url).json == edit
    shown = amends("sagas", "show", saga_id, url=house.server.url)
    assert 'args {"amount": 300} -> {"amount": 280}' in " ".join(shown.out.split())


def test_pages_follow_one_another_by_position(house: House) -> None:
    for reason in "abc":
        for switch in ("suspend", "resume"):
            path = f"/definitions/place-order/{switch}"
            assert house.http().post(path, json={"reason": reason}).status_code == 200

    whole = acts(house)
    paged: list[dict[str, Any]] = []
    cursor: str | None = None
    while cursor is not None or not paged:
        page = (
            house.http().get("/audit", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        )
        paged += page["acts"]
        cursor = page["next"]

    assert len(whole) >= 6
    assert paged == whole


def test_a_cursor_that_no_page_gave_is_refused(shared_house: House) -> None:
    answer = shared_house.http().get("/audit", params={"cursor": "nonsense"})

    assert problem(answer) == (422, "invalid_request", "cursor")


def _strange(command: wire.Command) -> wire.Reply:
    if json.loads(bytes(command.args))["amount"] == 300:
        return reply(command, "payments", "failed", reason="no such currency")
    return reply(command, "payments", "done")
