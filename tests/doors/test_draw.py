"""Pictures over HTTP and by the command: of a definition, and of a saga with the state of each step."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from amends.outbox import wire
from tests.doors.house import House, Run, order, problem
from tests.draw.pictures import taken_apart
from tests.engine.scripted import reply


@pytest.fixture
def half_done(house: House) -> str:
    """A saga whose first step is done and whose second is asked."""
    house.world.participants["payments"].script = lambda _: None
    saga_id = house.start_saga()
    house.world.participants["payments"].wait_for("do", "charge")
    return saga_id


def test_a_definition_is_drawn(house: House) -> None:
    answer = house.http().get("/definitions/place-order/drawing")

    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert [box.texts[0] for box in taken_apart(answer.text).boxes] == ["reserve", "charge"]
    assert "place-order v1" in answer.text


def test_a_version_and_a_format_can_be_asked_for(house: House) -> None:
    house.world.coordinator.catalog.register(
        order(version=2, undo="put_back").definition, actor="test", activate=False
    )

    active, second = (
        house.http().get("/definitions/place-order/drawing", params={"format": "mermaid", **version})
        for version in ({}, {"version": 2})
    )

    assert active.headers["Content-Type"].startswith("text/plain")
    assert active.text.startswith("flowchart TD")
    assert "undo: release" in active.text
    assert "undo: put_back" in second.text


def test_a_saga_is_drawn_with_the_state_of_each_step(house: House, half_done: str) -> None:
    drawn = house.http().get(f"/sagas/{half_done}/drawing").text
    text = house.http().get(f"/sagas/{half_done}/drawing", params={"format": "mermaid"}).text

    assert [box.texts[-1] for box in taken_apart(drawn).boxes] == ["✓ done", "> asked"]
    assert "place-order v1, running" in text
    assert "✓ done" in text


def test_a_stuck_compensation_is_drawn(house: House) -> None:
    def inventory(command: wire.Command) -> wire.Reply:
        undo = command.op is wire.Op.UNDO
        return reply(command, "inventory", "refused" if undo else "done", reason="locked")

    house.world.participants["inventory"].script = inventory
    house.world.participants["payments"].script = lambda command: reply(command, "payments", "refused")
    saga_id = house.start_saga()
    house.stuck(saga_id)

    drawn = taken_apart(house.http().get(f"/sagas/{saga_id}/drawing").text)

    assert [box.texts[-1] for box in drawn.boxes] == ["! stuck, attempt 2", "- refused"]


def test_what_is_not_there_is_told(shared_house: House, amends: Run) -> None:
    http = shared_house.http()
    unknown = amends("draw", "no-such", url=shared_house.server.url)

    assert problem(http.get("/definitions/no-such/drawing"))[:2] == (404, "unknown_definition")
    assert problem(http.get(f"/sagas/{uuid4()}/drawing"))[:2] == (404, "unknown_saga")
    assert problem(http.get("/definitions/place-order/drawing", params={"format": "png"}))[2] == "format"
    assert (unknown.status, unknown.out) == (1, "")
    assert "known sagas: place-order" in unknown.err


def test_the_command_draws_to_standard_output_and_to_a_file(
    house: House, half_done: str, amends: Run, tmp_path: Path
) -> None:
    url = house.server.url
    file = tmp_path / "order.svg"

    shown = amends("draw", "place-order", url=url)
    written = amends("draw", half_done, "-o", str(file), url=url)
    as_svg = amends("draw", half_done, "--format", "svg", url=url)
    wrong = amends("draw", half_done, "--version", "1", url=url)

    assert shown.out.startswith("flowchart TD")
    assert (written.status, written.out) == (0, "")
    assert str(file) in written.err
    assert len(taken_apart(file.read_text("utf-8")).boxes) == 2
    assert as_svg.out.startswith("<svg")
    assert wrong.status == 2
