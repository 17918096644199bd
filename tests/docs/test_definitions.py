"""docs/definitions.md: its worked example runs, command by command, on a real coordinator and says what it says."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.outbox.broker import open_broker
from tests.doors.conftest import amends  # noqa: F401 - A fixture.
from tests.doors.house import House, Run
from tests.engine.world import World

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "definitions.md").read_text("utf-8")
FILES: Final = re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", PAGE, re.M | re.S)
CONSOLES: Final = re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S)
ROUTES: Final = re.findall(r"`(GET|POST) (/definitions[^`]*)`", PAGE)


@pytest.fixture
def house(coordinator_database: Engine) -> Iterator[House]:
    """A coordinator that knows nothing yet."""
    name = f"t{uuid4().hex[:8]}"
    world = World(coordinator_database, open_broker(f"memory://{name}"), name).start()
    made = House(world)
    yield made
    made.close()
    world.close()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with the page's files, from which they and the examples can be imported."""
    for name, text in FILES:
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    yield tmp_path
    for name, _ in FILES:
        sys.modules.pop(Path(name).stem, None)


def lines() -> Iterator[tuple[str, int, list[str]]]:
    """Every command of the page, the status it exits with, and what it is said to print."""
    for console in CONSOLES:
        command, said = "", []
        for line in console.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, _status(command), said
                command, said = line[2:], []
            else:
                said.append(line)
        yield command, _status(command), said


def _status(command: str) -> int:
    comment = re.search(r"# exit status (\d)", command)
    return int(comment[1]) if comment else 0


@pytest.mark.timeout(180)
def test_every_command_of_the_page_does_what_it_says(
    house: House,
    elsewhere: Path,
    amends: Run,  # noqa: F811 - The fixture.
) -> None:
    for command, status, said in lines():
        words = shlex.split(command, comments=True)
        assert words[0] == "amends", command
        target = None
        if ">" in words:
            target = elsewhere / words[words.index(">") + 1]
            words = words[: words.index(">")]

        answer = amends(*words[1:], url=house.server.url)

        assert answer.status == status, (command, answer)
        if target is not None:
            target.write_text(answer.out, "utf-8")
        for line in said:
            assert line in answer.out + answer.err, (command, answer)


def test_what_the_page_sends_over_http_is_registered(house: House) -> None:
    for body in re.findall(r"^```http\nPOST /definitions\n.*?\n\n(.*?)^```$", PAGE, re.M | re.S):
        answer = house.http().post("/definitions", json=json.loads(body))

        assert answer.status_code == 201, answer.text


def test_every_route_of_the_page_is_one(house: House) -> None:
    spec = house.http().get("/openapi.json").json()["paths"]
    patterns = {re.sub(r"\{\w+\}", "[^/]+", path): operations for path, operations in spec.items()}

    for method, path in ROUTES:
        bare = path.partition("?")[0]
        found: list[Callable[..., object]] = [
            operations for pattern, operations in patterns.items() if re.fullmatch(pattern, bare)
        ]
        assert any(method.lower() in operations for operations in found), path
