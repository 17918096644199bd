"""The processes of docker-compose.yml without Docker: the same commands and variables, on this machine's own ports."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import yaml
from sqlalchemy.engine import URL, make_url

from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port, tail
from tests.deploy import compose
from tests.waiting import DEADLINE_S

PROGRAMS: Final = {"amends": [sys.executable, "-m", "amends.db.cli"], "python": [sys.executable]}
JOB_S: Final = 60
PORTS: Final = ("AMENDS_HTTP_PORT", "AMENDS_METRICS_PORT")


class Stack:
    """Runs services by their names. Whatever runs is ended when `running` is closed."""

    def __init__(
        self, directory: Path, secrets: Path, *, postgres: URL, amqp_url: str, prefix: str, running: ExitStack
    ) -> None:
        """`secrets` are as deploy/make-secrets made them; here is what their host names stand for."""
        self._directory = directory
        self._prefix = prefix
        self._running = running
        self._services = {service.name: service for service in compose.our_services()}
        self._files = self._localised(secrets, postgres, amqp_url)
        self._ports: dict[str, int] = {}
        self.processes: dict[str, Guarded] = {}

    def run(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a job to its end, its own command replaced by `words`, if there are any, as `compose run` does."""
        service = self._services[name]
        entrypoint = service.raw.get("entrypoint", compose.ENTRYPOINT)
        return subprocess.run(
            self._program((*entrypoint, *words) if words else service.words),
            env=self._environment(service),
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=JOB_S,
        )

    def start(self, name: str) -> None:
        """Start what runs for long."""
        service = self._services[name]
        process = Guarded(
            self._program(service.words),
            directory=self._directory,
            log=self._directory / f"{name}.log",
            env=self._environment(service),
            patience_s=60,
        )
        self._running.callback(process.close)
        process.start()
        self.processes[name] = process

    def asked(self, name: str, path: str) -> str | None:
        """What a service answers at a path of its own door or metrics; None if it does not, or says no."""
        process = self.processes[name]
        assert process.alive(), f"{name} has ended: {self.log(name)}"
        try:
            with urlopen(f"http://127.0.0.1:{self._ports[name]}{path}", timeout=DEADLINE_S) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return None

    def log(self, name: str) -> str:
        """The end of a service's log."""
        return tail(self._directory / f"{name}.log", 15)

    def _program(self, words: tuple[str, ...]) -> list[str]:
        return [*PROGRAMS[words[0]], *words[1:]]

    def _environment(self, service: compose.Service) -> dict[str, str]:
        here = {name: value for name, value in os.environ.items() if not name.startswith("AMENDS_")}
        values = {name: self._files.get(value, value) for name, value in service.environment.items()}
        for variable in PORTS:
            if variable in values:
                values[variable] = str(self._ports.setdefault(service.name, free_port()))
        if "AMENDS_URL" in values:
            values["AMENDS_URL"] = f"http://127.0.0.1:{self._ports['coordinator-1']}"
        return {**here, **values, "AMENDS_PREFIX": self._prefix}

    def _localised(self, secrets: Path, postgres: URL, amqp_url: str) -> dict[str, str]:
        """Copies of the secrets with the hosts of this machine: where each is seen in a container -> where here."""
        declared: dict[str, Any] = yaml.safe_load(compose.FILE.read_text("utf-8"))["secrets"]
        found = {}
        for name, how in declared.items():
            text = (secrets / Path(how["file"]).name).read_text("utf-8")
            if name.endswith("_database_url"):
                url = make_url(text).set(host=postgres.host, port=postgres.port)
                text = url.render_as_string(hide_password=False)
            elif name == "broker_url":
                text = amqp_url
            copy = self._directory / name
            copy.write_text(text, "utf-8")
            found[compose.SECRETS_INSIDE + name] = str(copy)
        return found
