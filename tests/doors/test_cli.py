"""The commands that speak HTTP: results on standard output, messages on standard error, errors with their mend."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from amends.outbox import wire
from tests.doors.house import INPUT, SECRETS, TOKENS, House, Run, Said
from tests.engine.scripted import reply

SAGAS = """
from amends.coordinator import Saga, chain, step

order = Saga("place-order", chain(step("reserve", to="inventory", undo="release")), version={version})
other = Saga("other", chain(step("look", to="inventory", reads=True)), version=1)
number = 7
"""


@pytest.fixture
def shop(house: House, amends: Run) -> Run:
    """Runs `amends ...` against a running coordinator."""

    def run(*arguments: str, **how: str) -> Said:
        return amends(*arguments, url=house.server.url, **how)

    return run


@pytest.fixture
def sagas_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Writes a module in a fresh current directory; its name is of this test alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text: str, stem: str = "sagas") -> str:
        name = f"{stem}_{uuid4().hex[:8]}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_a_saga_is_started_followed_and_shown(shop: Run, house: House) -> None:
    started = shop(
        "sagas", "start", "place-order", "--input", json.dumps(INPUT), "--key", "o-1", "--label", "a=b"
    )

    saga_id = started.out.strip()
    house.ended(saga_id)
    shown = shop("sagas", "show", saga_id)
    assert (started.status, shown.status) == (0, 0)
    for text in (saga_id, "place-order v1", "completed", "o-1", "a=b", "reserve", "charge", "done"):
        assert text in shown.out
    assert shown.err == ""


def test_json_is_one_object_on_standard_output(shop: Run, house: House) -> None:
    started = shop("sagas", "start", "place-order", "--input", json.dumps(INPUT), "--json")
    house.ended(started.json["id"])

    shown = shop("sagas", "show", started.json["id"], "--payloads", "--json").json

    assert started.json["created"] is True
    assert (shown["saga"]["status"], shown["saga"]["input"]) == ("completed", INPUT)
    assert [one["what"] for one in shown["timeline"]] == ["saga", "step", "step", "saga"]


def test_a_repeated_start_prints_the_same_id_and_says_so(shop: Run) -> None:
    first, again = (
        shop("sagas", "start", "place-order", "--input", json.dumps(INPUT), "--key", "o-1") for _ in range(2)
    )

    assert first.out == again.out
    assert "stood already" in again.err


def test_input_comes_from_a_file_or_standard_input_too(
    shop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "order.json"
    file.write_text(json.dumps(INPUT))
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(INPUT)))

    from_file = shop("sagas", "start", "place-order", "--input", str(file))
    from_stdin = shop("sagas", "start", "place-order", "--input", "-")

    assert (from_file.status, from_stdin.status) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["start", "place-order", "--input", "no-such-file"], "there is no file 'no-such-file'"),
        (["start", "place-order", "--input", "{"], "--input is no JSON"),
        (["start", "place-order", "--input", "{}", "--label", "x"], "is not K=V"),
        (["start", "place-order"], "--input"),
        (["show", "order-1"], "not a valid UUID"),
        (["retry", str(uuid4())], "--reason"),
        (["skip", str(uuid4()), "--reason", "x"], "--step"),
        (["list", "--status", "lost"], "lost"),
    ],
)
def test_a_wrong_call_exits_with_2_and_says_what_is_wrong(
    amends: Run, arguments: list[str], told: str
) -> None:
    said = amends("sagas", *arguments)

    assert (said.status, said.out) == (2, "")
    assert told in said.err


def test_what_the_coordinator_refuses_is_told_and_exits_with_1(shop: Run) -> None:
    unknown = shop("sagas", "start", "no-such", "--input", "{}")
    missing = shop("sagas", "show", str(uuid4()), "--json")
    unfit = shop("sagas", "start", "place-order", "--input", '{"sku": "tea"}')

    assert [one.status for one in (unknown, missing, unfit)] == [1, 1, 1]
    assert [one.out for one in (unknown, missing, unfit)] == ["", "", ""]
    assert "amends apply" in unknown.err
    assert "amends sagas list" in missing.err
    assert "amount" in unfit.err


def test_a_coordinator_that_is_not_there_names_the_variable(amends: Run) -> None:
    refused = amends("sagas", "list", url="http://127.0.0.1:9")
    default = amends("outbox", "list", url="ftp://example")

    assert (refused.status, default.status) == (1, 1)
    assert "AMENDS_URL" in refused.err
    assert "http://127.0.0.1:9" in refused.err
    assert "amends coordinator" in refused.err
    assert "AMENDS_URL" in default.err


def test_tokens_are_sent_and_their_lack_is_told(make_house: Callable[..., House], amends: Run) -> None:
    guarded = make_house(tokens=TOKENS)
    url = guarded.server.url

    nobody = amends("sagas", "list", url=url)
    reader = amends("sagas", "list", url=url, token=SECRETS["read"])
    beyond = amends("outbox", "retry", "--all", "--reason", "x", url=url, token=SECRETS["read"])

    assert (nobody.status, reader.status, beyond.status) == (1, 0, 1)
    assert "AMENDS_TOKEN" in nobody.err
    assert "this needs operate" in beyond.err


def test_lists_are_json_lines_and_follow_pages(shop: Run, house: House) -> None:
    ids = [house.start_saga(labels={"n": str(number)}) for number in range(3)]

    listed = shop("sagas", "list", "--json")
    some = shop("sagas", "list", "--limit", "2", "--name", "place-order", "--json")
    labelled = shop("sagas", "list", "--label", "n=1", "--newer", "1h", "--json")
    shown = shop("sagas", "list")

    assert [one["id"] for one in listed.lines] == ids[::-1]
    assert len(some.lines) == 2
    assert [one["id"] for one in labelled.lines] == [ids[1]]
    assert all(id_ in shown.out for id_ in ids)
    assert "no such sagas" in shop("sagas", "list", "--status", "stuck").out


def test_an_operator_moves_a_stuck_saga(shop: Run, house: House) -> None:
    def inventory(command: wire.Command) -> wire.Reply:
        unlocked = command.round > 1 or command.op is not wire.Op.UNDO
        return reply(command, "inventory", "done" if unlocked else "refused", reason="\x1b[31mlocked\x07")

    house.world.participants["inventory"].script = inventory
    house.world.participants["payments"].script = lambda command: reply(command, "payments", "refused")
    saga_id = house.start_saga()
    house.stuck(saga_id)

    shown = shop("sagas", "show", saga_id)
    moved = shop("sagas", "retry", saga_id, "--reason", "unlocked")

    assert "stuck" in shown.out
    assert "waits for" in shown.out
    assert "\x1b" not in shown.out
    assert (moved.status, moved.out) == (0, "")
    assert saga_id in moved.err
    assert house.ended(saga_id)["status"] == "compensated"
    again = shop("sagas", "compensate", saga_id, "--reason", "once more", "--json")
    assert (again.status, again.out) == (1, "")
    assert "ended" in again.err


def test_apply_registers_and_repeats_harmlessly(shop: Run, sagas_module: Callable[..., str]) -> None:
    module = sagas_module(SAGAS.format(version=2))

    first = shop("apply", f"{module}:order", f"{module}:other")
    again = shop("apply", f"{module}:order", "--json")
    changed = shop("apply", f"{sagas_module(SAGAS.format(version=1))}:order")

    assert (first.status, first.out) == (0, "")
    assert "registered: place-order version 2" in first.err
    assert "registered: other version 1" in first.err
    assert again.json["created"] is False
    assert changed.status == 1
    assert "raise `version=`" in changed.err


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("{module}", "module:saga"),
        ("{module}:nothing", "its sagas: order, other"),
        ("{module}:number", "is a int, not a Saga"),
        ("no_such_module_here:order", "there is no module 'no_such_module_here'"),
        ("{needs}:order", "needs 'no_such_library'"),
        ("{broken}:order", "ZeroDivisionError"),
        ("{invalid}:order", "not valid"),
    ],
)
def test_apply_says_what_is_wrong_with_a_reference(
    amends: Run, sagas_module: Callable[..., str], reference: str, told: str
) -> None:
    reference = reference.format(
        module=sagas_module(SAGAS.format(version=1)) if "module}" in reference else "",
        needs=sagas_module("import no_such_library", "needs") if "needs" in reference else "",
        broken=sagas_module("1 / 0", "broken") if "broken" in reference else "",
        invalid=(
            sagas_module(
                "from amends.coordinator import *\norder = Saga('x', chain(step('a', to='b')), version=1)",
                "invalid",
            )
            if "invalid" in reference
            else ""
        ),
    )

    said = amends("apply", reference)

    assert (said.status, said.out) == (1, "")
    assert told in said.err


def test_definitions_are_listed_and_shown(shop: Run) -> None:
    listed = shop("definitions", "list", "--json")
    shown = shop("definitions", "show", "place-order")
    as_json = shop("definitions", "show", "place-order", "--version", "1", "--json")

    assert [(one["name"], one["version"], one["active"]) for one in listed.lines] == [
        ("place-order", 1, True)
    ]
    assert "place-order" in shop("definitions", "list").out
    assert '"reserve"' in shown.out
    assert as_json.json["definition"]["name"] == "place-order"
    assert "known sagas: place-order" in shop("definitions", "show", "a?b c").err


def test_parked_messages_are_listed_and_sent_again(shop: Run, house: House) -> None:
    with house.world.database.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO amends.outbox (message_id, routing_key, type, body, parked_at, last_error)"
            " SELECT 'm' || n, 'gone.do', 'amends.command', '{}', now(), 'no route' FROM generate_series(1, 3) AS n"
        )

    listed = shop("outbox", "list")
    counts, *rows = shop("outbox", "list", "--json").lines
    one = shop("outbox", "retry", "--id", str(rows[0]["id"]), "--reason", "route is back", "--json")
    rest = shop("outbox", "retry", "--all", "--reason", "route is back")

    assert "3 parked" in listed.out
    assert "no route" in listed.out
    assert (counts["parked"], len(rows)) == (3, 3)
    assert one.json == {"retried": 1}
    assert "2 rows" in rest.err
    assert shop("outbox", "retry", "--reason", "x").status == 2
