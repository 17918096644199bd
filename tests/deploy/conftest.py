"""What the tests of the deployment share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from amends.db.private_postgres import PrivatePostgres
from tests.deploy.databases import make_secrets, set_up
from tests.deploy.promtool import PromtoolMissing, find_promtool
from tests.servers.postgres import private_postgres_server


@pytest.fixture(scope="package")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of secrets, fresh from deploy/make-secrets."""
    directory = tmp_path_factory.mktemp("deploy") / "secrets"
    make_secrets(directory)
    return directory


@pytest.fixture(scope="package")
def server(secrets: Path) -> Iterator[PrivatePostgres]:
    """A PostgreSQL that deploy/postgres/init has set up, and that wants passwords."""
    with private_postgres_server() as private:
        set_up(private, secrets)
        yield private


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Prometheus's own tool; fetched where it is missing."""
    try:
        return find_promtool()
    except PromtoolMissing as error:
        pytest.fail(str(error))
