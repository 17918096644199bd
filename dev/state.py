"""The folder in which `amends dev` keeps what outlives it: the databases, the ports, and what others need to join."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from amends.db.private_postgres import free_port, is_free
from amends.dev.errors import AlreadyRunning

FOLDER: Final = ".amends"


@dataclass(frozen=True, slots=True)
class State:
    """A folder that is ours while we run."""

    folder: Path

    @property
    def databases(self) -> Path:
        """Where PostgreSQL keeps its files."""
        return self.folder / "postgresql"

    @property
    def environment(self) -> Path:
        """A file for other shells to source."""
        return self.folder / "env"

    def port(self) -> int:
        """PostgreSQL's port: the last one if nobody has taken it, so that URLs stay what they were."""
        kept = self.folder / "port"
        if kept.exists() and kept.read_text().isdecimal() and is_free(int(kept.read_text())):
            return int(kept.read_text())
        port = free_port()
        kept.write_text(str(port))
        return port

    def write_environment(self, variables: Mapping[str, str]) -> None:
        """Let `source .amends/env` set these; only this user can read it."""
        lines = [f"export {name}={json.dumps(value)}" for name, value in variables.items()]
        descriptor = os.open(self.environment, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(lines) + "\n")


@contextmanager
def held_state(folder: Path) -> Iterator[State]:
    """The state in `folder`, made if it is missing; nobody else has it until the block ends.

    Raises: AlreadyRunning; OSError if the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Whatever is in here is nobody's source.
    (folder / ".gitignore").write_text("*\n")
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"another `amends dev` runs with the state in {folder}; end it, or give this its own: --state FOLDER"
            ) from None
        state = State(folder.resolve())
        yield state
        state.environment.unlink(missing_ok=True)
    finally:
        os.close(lock)
