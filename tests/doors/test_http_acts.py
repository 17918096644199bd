"""An operator's acts over HTTP: done, audited under the token's name, told in the timeline; refused where unfit."""

from __future__ import annotations

from concurrent.futures import Future
from uuid import uuid4

import pytest

from amends.coordinator.engine.intake import ActItem, DeadLetterItem, Intake
from amends.coordinator.saga.events import Compensate
from amends.outbox import wire
from amends.outbox.ports import Delivery
from tests.doors.house import INPUT, TOKENS, House, order, problem
from tests.engine.scripted import reply
from tests.waiting import DEADLINE_S


@pytest.fixture
def broken_undo(house: House) -> str:
    """A saga that is stuck: its charge was refused, and so was its release."""
    house.world.participants["payments"].script = lambda command: reply(
        command, "payments", "refused", reason="card declined"
    )

    def inventory(command: wire.Command) -> wire.Reply | None:
        if command.op is wire.Op.UNDO and command.round == 1:
            return reply(command, "inventory", "refused", reason="shelf is locked")
        return reply(command, "inventory", "never" if command.op is wire.Op.FENCE else "done")

    house.world.participants["inventory"].script = inventory
    saga_id = house.start_saga()
    house.stuck(saga_id)
    return saga_id


def audit(house: House) -> list[tuple[str, ...]]:
    with house.world.database.connect() as connection:
        sql = "SELECT actor, act, path, reason FROM amends.audit WHERE left(act, 10) <> 'definition' ORDER BY id"
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def test_a_stuck_saga_says_where_and_why_and_the_mend(house: House, broken_undo: str) -> None:
    saga = house.http().get(f"/sagas/{broken_undo}").json()

    assert [one["path"] for one in saga["stuck"]] == ["reserve"]
    assert "shelf is locked" in saga["stuck"][0]["reason"]
    assert f"amends sagas retry {broken_undo}" in saga["waits_for"]


def test_a_retry_moves_a_stuck_saga(house: House, broken_undo: str) -> None:
    answer = house.http().post(f"/sagas/{broken_undo}/retry", json={"reason": "shelf unlocked"})

    assert (answer.status_code, answer.json()["id"]) == (200, broken_undo)
    assert house.ended(broken_undo)["status"] == "compensated"
    assert audit(house) == [("local", "retry", None, "shelf unlocked")]


def test_a_skip_does_without_the_stuck_step_and_is_listed(house: House, broken_undo: str) -> None:
    answer = house.http().post(
        f"/sagas/{broken_undo}/skip", json={"reason": "counted by hand", "path": "reserve"}
    )

    assert answer.status_code == 200
    saga = house.ended(broken_undo)
    assert saga["status"] == "compensated"
    assert any("reserve" in override for override in saga["overrides"])
    assert audit(house) == [("local", "skip", "reserve", "counted by hand")]


def test_a_compensation_turns_a_running_saga_back(house: House) -> None:
    house.world.participants["payments"].script = lambda command: (
        None if command.op is wire.Op.DO else reply(command, "payments", "nothing")
    )
    saga_id = house.start_saga()
    house.world.participants["payments"].wait_for("do", "charge")

    answer = house.http().post(f"/sagas/{saga_id}/compensate", json={"reason": "customer called"})

    assert (answer.status_code, answer.json()["status"]) == (200, "compensating")
    assert house.ended(saga_id)["status"] == "compensated"


def test_an_act_that_does_not_fit_changes_nothing_and_says_why(house: House) -> None:
    saga_id = house.start_saga()
    house.ended(saga_id)

    answers = {
        "retry": {"reason": "why not"},
        "skip": {"reason": "why not", "path": "reserve"},
        "compensate": {"reason": "why not"},
    }
    for act, body in answers.items():
        answer = house.http().post(f"/sagas/{saga_id}/{act}", json=body)
        assert problem(answer) == (409, "act_refused", None)
        assert "ended" in answer.json()["message"]
    assert audit(house) == []


@pytest.mark.parametrize(
    ("act", "body", "field"),
    [
        ("retry", {}, "reason"),
        ("retry", {"reason": "  "}, "reason"),
        ("retry", {"reason": "x" * 1001}, "reason"),
        ("retry", {"reason": "bell\x07"}, "reason"),
        ("retry", {"reason": "x", "deadline": "soon"}, "deadline"),
        ("retry", {"reason": "x", "deadline": "9999d"}, "deadline"),
        ("skip", {"reason": "x"}, "path"),
        ("retry", {"reason": "x", "path": "reserve/x"}, "path"),
        ("compensate", {"reason": "x", "force": True}, "force"),
    ],
)
def test_a_malformed_act_names_the_field(shared_house: House, act: str, body: object, field: str) -> None:
    answer = shared_house.http().post(f"/sagas/{uuid4()}/{act}", json=body)

    assert problem(answer) == (422, "invalid_request", field)


def test_the_audit_keeps_the_tokens_name(make_house: object) -> None:
    house: House = make_house(tokens=TOKENS)  # type: ignore[operator]
    house.world.register(order())
    house.world.participant("inventory")
    house.world.participant(
        "payments", lambda command: None if command.op is wire.Op.DO else reply(command, "payments")
    )
    started = house.http("start").post(
        "/sagas", json={"name": "place-order", "input": {"sku": "a", "amount": 1}}
    )

    done = house.http("operate").post(f"/sagas/{started.json()['id']}/compensate", json={"reason": "a test"})

    assert done.status_code == 200
    assert audit(house) == [("operate-token", "compensate", None, "a test")]


def test_a_timeline_tells_what_happened(house: House, broken_undo: str) -> None:
    house.http().post(f"/sagas/{broken_undo}/retry", json={"reason": "shelf unlocked"})
    house.ended(broken_undo)

    timeline = house.http().get(f"/sagas/{broken_undo}/timeline").json()

    told = [
        (one["what"], one["path"], one["op"], one["attempt"], one["outcome"])
        for one in timeline["entries"]
        if one["what"] != "sent"
    ]
    assert told == [
        ("saga", None, None, None, "started"),
        ("step", "reserve", "do", 1, "done"),
        ("step", "charge", "do", 1, "refused"),
        ("saga", None, None, None, "compensating"),
        ("step", "reserve", "undo", 2, "refused"),
        ("stuck", "reserve", None, None, None),
        ("saga", None, None, None, "stuck"),
        ("retry", None, None, None, None),
        ("saga", None, None, None, "compensating"),
        ("step", "reserve", "undo", 3, "done"),
        ("saga", None, None, None, "compensated"),
    ]
    by_what = {one["what"]: one for one in timeline["entries"]}
    assert (by_what["retry"]["actor"], by_what["retry"]["error"]) == ("local", "shelf unlocked")
    assert all(one["duration"] is not None for one in timeline["entries"] if one["what"] == "step")
    assert by_what["saga"]["duration"] > 0
    assert timeline["waits_for"] is None


def test_a_timeline_tells_what_was_sent_and_not_answered(house: House) -> None:
    house.world.participants["payments"].script = lambda _: None
    saga_id = house.start_saga()
    house.world.participants["payments"].wait_for("do", "charge")

    timeline = house.http().get(f"/sagas/{saga_id}/timeline").json()

    last = timeline["entries"][-1]
    assert (last["what"], last["path"], last["attempt"], last["duration"]) == ("sent", "charge", 1, None)
    assert "charge" in timeline["waits_for"]


def test_a_timeline_without_its_definition_still_tells_the_log(house: House, broken_undo: str) -> None:
    with house.world.database.begin() as connection:
        connection.exec_driver_sql("""UPDATE amends.saga SET format = 999""")
        connection.exec_driver_sql(
            """INSERT INTO amends.saga_log SELECT id, seq + 1, clock_ms, '{"event": "Dreamt"}' FROM amends.saga"""
        )

    timeline = house.http().get(f"/sagas/{broken_undo}/timeline").json()

    told = [(one["what"], one["path"], one["outcome"]) for one in timeline["entries"]]
    assert told[:2] == [("saga", None, "started"), ("step", "reserve", "done")]
    assert told[-1] == ("Dreamt", None, None)


def test_a_coordinator_that_stopped_turns_starts_away(house: House) -> None:
    """Seen to hang until the answer's time was up without the look at `_stopped` in `Coordinator._put`."""
    house.world.coordinator.stop()

    answer = house.http().post("/sagas", json={"name": "place-order", "input": INPUT}, timeout=DEADLINE_S)

    assert problem(answer) == (503, "not_accepting", None)
    assert answer.headers["retry-after"] == "1"


def test_a_retry_may_set_a_new_deadline(house: House) -> None:
    house.world.participants["payments"].script = lambda _: None
    saga_id = house.start_saga()
    house.world.participants["payments"].wait_for("do", "charge")
    before = house.http().get(f"/sagas/{saga_id}").json()["deadline_at"]

    answer = house.http().post(f"/sagas/{saga_id}/retry", json={"reason": "slow day", "deadline": "7d"})

    assert answer.status_code == 200
    assert house.http().get(f"/sagas/{saga_id}").json()["deadline_at"] > before


def test_doors_are_taken_out_of_turn_while_the_database_is_away() -> None:
    """What the decider tells doors that came while it was finding out. Messages stay, to be decided later."""
    intake = Intake()
    message = DeadLetterItem(saga_id="", delivery=Delivery(tag=1, queue="x", body=b""), reason="y")
    waiting = ActItem(saga_id="a", act=Compensate(actor="ann", reason="z"), answer=Future())
    intake.put([message, waiting])

    assert intake.take_doors() == [waiting]
    assert intake.take_all() == [message]
