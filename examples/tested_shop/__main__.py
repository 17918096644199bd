"""Runs the shop's tests against a real PostgreSQL: `python -m examples.tested_shop`, in the repository's root."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click

from examples.servers import servers
from examples.verdict import Verdict

HERE = Path(__file__).parent
TESTS = 7


def main() -> None:
    """Run them in a process of their own, as a project would, and hold it to what is to come of them."""
    with servers() as at:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", str(HERE), "-q", "-p", "no:cacheprovider"],
            cwd=HERE.parents[1],
            env={**os.environ, "SHOP_DATABASE": at.database(), "SHOP_SERVER": at.postgresql_url},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    click.echo(ended.stdout)
    passed = re.search(r"(\d+) passed", ended.stdout)
    verdict = Verdict()
    verdict.equal("pytest's exit status", ended.returncode, 0)
    verdict.equal("tests that passed", passed and int(passed[1]), TESTS)
    verdict.tell("the shop's tests hold, and a shop that keeps its state in memory is found out")


if __name__ == "__main__":
    main()
