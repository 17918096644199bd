"""Runs every example against real servers: `python -m examples`, or some: `python -m examples shop events`.

Each is a program of its own, `python -m examples.NAME`, that checks its own result; here they share the servers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from tests.servers import ServerUnavailable
from tests.servers.postgres import postgres_server
from tests.servers.rabbit import rabbit_server

HERE: Final = Path(__file__).parent
LIMIT_S: Final = 180.0
_GRACE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How an example ended: what was wrong (None: nothing), and after how many seconds."""

    name: str
    wrong: str | None
    took_s: float


def names() -> list[str]:
    """The examples that can be run, sorted."""
    return sorted(path.parent.name for path in HERE.glob("*/__main__.py"))


def run(name: str, environment: dict[str, str], limit_s: float = LIMIT_S) -> Ended:
    """Run one example and print what it prints. It is stopped, and has failed, after `limit_s` seconds."""
    click.secho(f"\n=== {name}", bold=True)
    began = time.monotonic()
    program = subprocess.Popen([sys.executable, "-m", f"examples.{name}"], env=environment, cwd=HERE.parent)
    wrong: str | None
    try:
        status = program.wait(limit_s)
        wrong = f"exit status {status}" if status else None
    except subprocess.TimeoutExpired:
        wrong = f"not done after {limit_s:g} s"
    finally:
        _end(program)
    return Ended(name, wrong, time.monotonic() - began)


def _end(program: subprocess.Popen[bytes]) -> None:
    """Let it end what it has started itself; kill it if that takes too long."""
    if program.poll() is None:
        program.terminate()
        try:
            program.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


@click.command()
@click.argument("wanted", metavar="[NAME]...", nargs=-1)
def main(wanted: tuple[str, ...]) -> None:
    """Run the examples NAME, or all; the last line counts them."""
    known = names()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise click.UsageError(f"no example {', '.join(unknown)}; known: {', '.join(known)}")
    with ExitStack() as stack:
        try:
            postgres = stack.enter_context(postgres_server())
            rabbit = stack.enter_context(rabbit_server())
        except ServerUnavailable as error:
            raise click.ClickException(str(error)) from error
        environment = {
            **os.environ,
            "AMENDS_TEST_POSTGRES_URL": postgres.url,
            "AMENDS_TEST_AMQP_URL": rabbit.url,
            "AMENDS_TEST_AMQP_MANAGEMENT_URL": rabbit.management_url,
            "PYTHONUNBUFFERED": "1",
        }
        ended = [run(name, environment) for name in wanted or known]
    click.echo()
    for one in ended:
        click.echo(f"{one.name:<24} {one.took_s:5.1f} s  {one.wrong or 'passed'}")
    failed = sum(one.wrong is not None for one in ended)
    click.echo(f"{len(ended)} examples: {len(ended) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
