"""The pipeline's processes: a coordinator, the records, and two for each station with five workers each."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, MetaData

from amends.db import participant as participant_tables
from amends.db.engines import open_engine
from amends.db.guarded import Guarded
from amends.db.migrate import migrate
from examples.pipeline.services import record_tables, station_tables
from examples.servers import Servers

STATIONS: Final = ("a", "b", "c")
TEN_WORKERS: Final = ("--processes", "2", "--threads", "5")
ROOT: Final = Path(__file__).parents[2]


class Line:
    """All of them, started; each on a database of its own."""

    def __init__(self, at: Servers, directory: Path, stack: ExitStack) -> None:
        self._at = at
        self._directory = directory
        self._stack = stack
        self.databases = {
            name: self._database(record_tables if name == "records" else station_tables)
            for name in (*STATIONS, "records")
        }
        self.coordinator = self._database(None)
        self._run(
            "coordinator",
            self.coordinator,
            "coordinator",
            "--port",
            "0",
            "--apply",
            "examples.pipeline.saga:pipeline",
        )
        self.workers = {
            name: self._run(
                name,
                engine,
                "participant",
                f"examples.pipeline.services:{name}",
                *(TEN_WORKERS if name in STATIONS else ()),
            )
            for name, engine in self.databases.items()
        }

    def _database(self, tables: MetaData | None) -> Engine:
        engine = open_engine(self._at.database())
        self._stack.callback(engine.dispose)
        if tables is None:
            migrate(engine, "coordinator")
        else:
            participant_tables.create(engine)
            tables.create_all(engine)
        return engine

    def _run(self, name: str, engine: Engine, *arguments: str) -> Guarded:
        process = Guarded(
            [sys.executable, "-m", "amends.db.cli", *arguments],
            directory=ROOT,
            log=self._directory / f"{name}.log",
            env={
                **os.environ,
                "AMENDS_DATABASE_URL": engine.url.render_as_string(hide_password=False),
                "AMENDS_BROKER_URL": self._at.broker_url,
                "AMENDS_PREFIX": self._at.prefix,
            },
        )
        self._stack.callback(process.close)
        process.start()
        return process


@contextmanager
def line(at: Servers) -> Iterator[Line]:
    """All processes, until the block ends, however it ends."""
    with tempfile.TemporaryDirectory(prefix="amends-pipeline-") as directory, ExitStack() as stack:
        yield Line(at, Path(directory), stack)
