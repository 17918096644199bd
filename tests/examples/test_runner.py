"""`make examples`: what it runs, how it counts, and that a wrong result is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from examples import __main__ as runner
from examples.verdict import Verdict


def a_program(directory: Path, name: str, body: str) -> None:
    """An example of this name under `directory`."""
    package = directory / "examples" / name
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(body)


def test_every_example_with_a_program_is_run() -> None:
    assert {"conditional_commit", "outbox_only", "trip"} <= set(runner.names())


def test_an_unknown_name_is_refused_before_any_server_is_started() -> None:
    ended = CliRunner().invoke(runner.main, ["outbox_onyl"])

    assert ended.exit_code == 2
    told = " ".join(ended.output.split())
    assert f"no example outbox_onyl; known: {', '.join(runner.names())}" in told


def test_an_example_that_finds_a_wrong_result_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_program(tmp_path, "right", "")
    a_program(tmp_path, "wrong", "raise SystemExit(3)")
    monkeypatch.setattr(runner, "HERE", tmp_path / "examples")

    assert runner.run("right", dict(os.environ)).wrong is None
    assert runner.run("wrong", dict(os.environ)).wrong == "exit status 3"


def test_an_example_that_hangs_is_stopped_and_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_program(tmp_path, "hanging", "import signal; signal.pause()")
    monkeypatch.setattr(runner, "HERE", tmp_path / "examples")

    assert runner.run("hanging", dict(os.environ), limit_s=0.5).wrong == "not done after 0.5 s"


def test_a_verdict_ends_the_program_at_the_first_wrong_result() -> None:
    program = "from examples.verdict import Verdict; v = Verdict(); v.equal('a', 1, 1); v.equal('b', 1, 2); print('on')"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "wrong: b: found 1 instead of 2\n"


def test_a_verdict_counts_what_was_checked(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = Verdict()
    verdict.equal("a", [1], [1])
    verdict.tell("all is well")

    assert capsys.readouterr().out == "checked: all is well (1 checks)\n"
