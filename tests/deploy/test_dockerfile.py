"""The Dockerfile without Docker: what it copies, who it runs as, and that what it copies is enough to install."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.deploy import compose
from tests.waiting import DEADLINE_S

ROOT: Final = compose.ROOT
# Continued lines joined, comments and parser directives left out.
LINES: Final = [
    line
    for line in re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text("utf-8")).splitlines()
    if line and not line.startswith("#")
]
PYPROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def instructions(word: str) -> list[str]:
    return [line.removeprefix(f"{word} ").strip() for line in LINES if line.startswith(f"{word} ")]


def copied() -> list[str]:
    """What is copied from the build context."""
    return [
        source
        for line in instructions("COPY")
        if not line.startswith("--from=")
        for source in line.split()[:-1]
    ]


def let_in() -> set[str]:
    """What .dockerignore lets into the build context; everything else is kept out."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*"
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def test_everything_that_is_copied_is_there_and_gets_into_the_build_context():
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert source in let_in()


def test_nothing_gets_into_the_build_context_that_is_not_copied():
    assert let_in() == set(copied())


def test_it_ships_the_finished_environment_only():
    assert len(instructions("FROM")) == 2
    assert instructions("COPY")[-1] == "--from=build /opt/amends /opt/amends"


def test_it_runs_as_a_numbered_user_who_is_not_root():
    last_stage = LINES[
        len(LINES) - 1 - LINES[::-1].index(next(x for x in LINES[::-1] if x.startswith("FROM "))) :
    ]
    users = [line.removeprefix("USER ") for line in last_stage if line.startswith("USER ")]

    assert len(users) == 1
    user, _, group = users[0].partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_entry_point_is_the_command_of_the_package():
    entry_point = json.loads(instructions("ENTRYPOINT")[0])

    assert entry_point == list(compose.ENTRYPOINT)
    assert entry_point[0] in PYPROJECT["project"]["scripts"]


def test_the_extras_it_installs_are_those_of_the_package():
    installed = [match for line in instructions("RUN") for match in re.findall(r'"\.\[([\w,]+)\]"', line)]

    assert installed == ["coordinator"]
    assert "coordinator" in PYPROJECT["project"]["optional-dependencies"]


def test_its_python_is_one_the_package_runs_on():
    version = re.search(r"PYTHON=(\d+\.\d+)", "\n".join(instructions("ARG")))

    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in PYPROJECT["project"]["classifiers"]


@pytest.mark.parametrize(("answer", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_health_check_tells_a_living_coordinator_from_a_stalled_or_missing_one(answer, healthy):
    check = instructions("HEALTHCHECK")[0]
    command = json.loads(check[check.index("[") :])
    assert command[0] == "python"

    with door(answer) as port:
        ran = subprocess.run(
            [sys.executable, *command[1:]],
            env={"AMENDS_HTTP_PORT": str(port)},
            capture_output=True,
            check=False,
            timeout=DEADLINE_S,
        )

    assert (ran.returncode == 0) == healthy


@contextmanager
def door(answer: int | None) -> Iterator[int]:
    """An HTTP door whose /healthz answers so; None: nobody listens."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer or 0 if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Door)
    port = server.server_port
    if answer is None:
        server.server_close()
        yield port
        return
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that comes out of what is copied, and of nothing else."""
    directory = tmp_path_factory.mktemp("image")
    context = directory / "src"
    context.mkdir()
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, context / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, context / source)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    ran = subprocess.run(
        [*build, "--wheel-dir", str(directory), str(context)],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert ran.returncode == 0, ran.stderr
    (built,) = directory.glob("amends-*.whl")
    return built


def test_what_is_copied_installs_every_module_and_data_file_of_the_package(wheel):
    installed = set(zipfile.ZipFile(wheel).namelist())

    expected = {
        f"amends/{path.relative_to(ROOT)}"
        for folder in ("coordinator", "participants", "outbox", "db", "demo", "testing")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != ".gitignore"
    }
    assert sorted(expected - installed) == []


def test_the_image_is_built_of_nothing_but_the_version_that_compose_names(wheel):
    version = PYPROJECT["project"]["version"]

    assert wheel.name.startswith(f"amends-{version}-")
    assert {service.raw["image"] for service in compose.our_services()} == {f"amends:{version}"}
