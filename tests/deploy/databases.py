"""The deployment's own scripts at work: secrets, and the databases that are made with them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy.engine import URL, make_url

from amends.db.embedded import postgres_programs
from amends.db.private_postgres import PrivatePostgres
from tests.deploy import compose
from tests.waiting import DEADLINE_S, eventually

MAKE_SECRETS: Final = compose.ROOT / "deploy" / "make-secrets"
INIT: Final = compose.ROOT / "deploy" / "postgres" / "init" / "10-databases.sh"


def make_secrets(directory: Path) -> dict[str, str]:
    """Run deploy/make-secrets; what stands in the directory then, by file name."""
    subprocess.run([MAKE_SECRETS, directory], check=True, capture_output=True, timeout=DEADLINE_S)
    return {path.name: path.read_text("utf-8") for path in directory.iterdir()}


def set_up(server: PrivatePostgres, secrets: Path) -> None:
    """Run the init script as PostgreSQL's image does; from then on the server wants passwords."""
    at = make_url(server.url())
    environment = {
        **os.environ,
        "PATH": f"{postgres_programs()}:{os.environ['PATH']}",
        "PGHOST": str(at.host),
        "PGPORT": str(at.port),
        "SECRETS_DIRECTORY": str(secrets),
    }
    ran = subprocess.run(
        [INIT], env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert ran.returncode == 0, ran.stderr
    with connect(at) as administrator:
        file = administrator.execute("SHOW hba_file").fetchone()
        assert file is not None
        administrator.execute(f"COPY (SELECT 'host all all all scram-sha-256') TO '{file[0]}'")
        administrator.execute("SELECT pg_reload_conf()")
    # The server reloads in its own time.
    eventually(lambda: not comes_in(at.set(password="wrong")), what="the server to want passwords")


def comes_in(url: URL) -> bool:
    """Whether the server lets this user in."""
    try:
        connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def connect(url: URL) -> psycopg.Connection[tuple[object, ...]]:
    """A connection without SQLAlchemy, so that nothing is retried or hidden."""
    return psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    )
