"""deploy/make-secrets and PostgreSQL's init script: every service gets what it needs, and nobody else's."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Final

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from amends.coordinator.http.tokens import Role, Tokens
from amends.db.private_postgres import PrivatePostgres
from tests.deploy import compose
from tests.deploy.databases import connect, make_secrets

SERVICES: Final = ("coordinator", "front", "inventory", "payments", "shipping")


def test_every_secret_of_the_compose_file_is_made(secrets):
    wanted = {Path(secret["file"]).name for secret in compose.load()["secrets"].values()}

    assert wanted <= {path.name for path in secrets.iterdir()}


def test_a_second_run_changes_nothing(tmp_path):
    before = make_secrets(tmp_path)

    assert make_secrets(tmp_path) == before


def test_a_second_run_brings_what_is_missing_and_whatever_is_made_of_it(tmp_path):
    before = make_secrets(tmp_path)
    (tmp_path / "token_read").unlink()

    after = make_secrets(tmp_path)

    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} == {"token_read", "coordinator_tokens"}


def test_a_password_of_ones_own_gets_into_the_url(tmp_path):
    make_secrets(tmp_path)
    (tmp_path / "payments_database_password").write_text("of-ones-own")

    after = make_secrets(tmp_path)

    assert make_url(after["payments_database_url"]).password == "of-ones-own"


def test_no_two_secrets_are_alike_and_all_are_long(secrets):
    drawn = [path.read_text("utf-8") for path in secrets.iterdir() if path.name.endswith("_password")]

    assert len(set(drawn)) == len(drawn)
    assert all(len(one) == 64 for one in drawn)


def test_other_users_of_the_machine_cannot_reach_them_but_containers_can_read_them(secrets):
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o644}


def test_git_leaves_them_alone():
    ignored = subprocess.run(
        ["git", "check-ignore", "deploy/secrets/postgres_password"],
        cwd=compose.ROOT,
        capture_output=True,
        check=False,
    )

    assert ignored.returncode == 0


def test_the_tokens_are_what_the_coordinator_reads_one_for_each_role(secrets):
    tokens = Tokens.parse((secrets / "coordinator_tokens").read_text("utf-8"))

    for role in Role:
        caller = tokens.caller((secrets / f"token_{role.word}").read_text("utf-8"))
        assert caller is not None
        assert caller.role is role


def test_the_broker_gets_the_user_that_the_services_call_with(secrets):
    url = make_url((secrets / "broker_url").read_text("utf-8"))
    lines = (secrets / "rabbitmq_user.conf").read_text("utf-8").splitlines()

    assert lines == [f"default_user = {url.username}", f"default_pass = {url.password}"]


def url_for(secrets: Path, server: PrivatePostgres, service: str) -> URL:
    """The URL the service is given, at the test's server."""
    at = make_url(server.url())
    return make_url((secrets / f"{service}_database_url").read_text("utf-8")).set(host=at.host, port=at.port)


def test_every_service_comes_into_its_own_database_and_into_no_other(server, secrets):
    for service in SERVICES:
        url = url_for(secrets, server, service)
        with connect(url) as connection:
            connection.execute("CREATE SCHEMA amends; CREATE TABLE kept (id int)")

        for other in SERVICES:
            if other != service:
                with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                    connect(url.set(database=other))


def test_nobody_comes_in_without_the_right_password(server, secrets):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(url_for(secrets, server, "payments").set(password="payments"))


def test_the_exporter_sees_statistics_and_no_tables(server, secrets):
    at = make_url(server.url()).set(
        username="monitoring", password=(secrets / "monitoring_database_password").read_text("utf-8")
    )

    with connect(at) as connection:
        row = connection.execute("SELECT pg_has_role('monitoring', 'pg_read_all_stats', 'usage')").fetchone()
    assert row == (True,)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(at.set(database="payments"))
