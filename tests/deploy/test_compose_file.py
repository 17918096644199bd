"""docker-compose.yml by itself: its schema, what starts when, what it keeps secret, what it may do."""

from __future__ import annotations

import json
import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import jsonschema_rs
import pytest

from tests.deploy import compose

# The published schema of compose files, as check-jsonschema carries it.
SCHEMA: Final = Path(
    str(
        distribution("check-jsonschema").locate_file(
            "check_jsonschema/builtin_schemas/vendor/compose-spec.json"
        )
    )
)
SERVICES: Final = compose.services()
LONG_RUNNING: Final = [name for name, service in SERVICES.items() if not service.ends]
OURS: Final = [service.name for service in compose.our_services()]


def test_the_file_fits_the_published_schema_of_compose_files():
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text("utf-8")))

    problems = [
        f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(compose.load())
    ]

    assert problems == []


def test_the_schema_would_tell_of_a_misspelt_key():
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text("utf-8")))
    content = compose.load()
    content["services"]["postgres"]["depend_on"] = {}

    assert not validator.is_valid(content)


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_what_runs_for_long_comes_back_by_itself_and_tells_its_health(name):
    service = SERVICES[name].raw

    assert service["restart"] == "unless-stopped"
    if (
        name == "postgres-exporter"
    ):  # Its image has no shell and no client; Prometheus sees whether it answers.
        return
    if not SERVICES[name].ours or name in ("inventory", "payments", "shipping", "front-relay"):
        assert service["healthcheck"]["test"][0] == "CMD"
    else:
        assert "healthcheck" not in service, "a coordinator's health check is the image's"


@pytest.mark.parametrize("name", ["inventory", "payments", "shipping", "front-relay"])
def test_the_health_of_a_worker_is_asked_where_it_shows_its_metrics(name):
    service = SERVICES[name]
    asked = re.findall(r"http://127\.0\.0\.1:(\d+)/", " ".join(service.raw["healthcheck"]["test"]))

    assert asked == [service.environment["AMENDS_METRICS_PORT"]]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_for_what_it_needs_in_the_way_that_fits_it(name):
    for other, condition in SERVICES[name].depends_on.items():
        wanted = "service_completed_successfully" if SERVICES[other].ends else "service_healthy"
        assert condition == wanted, f"{name} waits for {other}"


@pytest.mark.parametrize("name", [name for name in OURS if not SERVICES[name].ends])
def test_no_process_of_amends_starts_before_its_database_is_migrated_and_the_broker_is_up(name):
    waited_for = _all_that_is_waited_for(name)

    url = SERVICES[name].environment["AMENDS_DATABASE_URL_FILE"]
    migrations = [
        other
        for other in waited_for
        if SERVICES[other].words[:2] == ("amends", "migrate")
        and SERVICES[other].environment["AMENDS_DATABASE_URL_FILE"] == url
    ]
    assert len(migrations) == 1
    assert {"postgres", "rabbitmq"} <= waited_for


def _all_that_is_waited_for(name: str) -> set[str]:
    found: set[str] = set()
    ahead = [name]
    while ahead:
        new = set(SERVICES[ahead.pop()].depends_on) - found
        found |= new
        ahead += new
    return found


@pytest.mark.parametrize("name", OURS)
def test_a_process_of_amends_may_do_no_more_than_it_needs(name):
    service = SERVICES[name].raw

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service, "the image's own user is used, which is not root"
    assert "privileged" not in service


def test_two_coordinators_share_one_name_for_their_clients():
    coordinators = [service for service in compose.our_services() if "coordinator" in service.words[1:2]]

    assert len(coordinators) == 2
    for service in coordinators:
        assert service.raw["networks"]["default"]["aliases"] == ["coordinator"]


def test_every_database_belongs_to_one_service():
    owners: dict[str, set[tuple[str, ...]]] = {}
    for service in compose.our_services():
        url = service.environment.get("AMENDS_DATABASE_URL_FILE")
        if url is not None and not service.ends:
            owners.setdefault(url, set()).add(service.words)

    assert all(len(words) == 1 for words in owners.values())
    assert len(owners) == 5


def test_ports_are_open_to_this_machine_alone():
    for service in SERVICES.values():
        for port in service.raw.get("ports", ()):
            assert port.startswith("127.0.0.1:"), service.name


def test_every_secret_that_is_used_is_declared_and_every_declared_one_is_used():
    declared = set(compose.load()["secrets"])
    used = {name for service in SERVICES.values() for name in service.secrets.values()}

    assert used == declared


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_reads_secrets_from_the_files_it_was_given(name):
    service = SERVICES[name]

    named = {value for value in service.environment.values() if value.startswith(compose.SECRETS_INSIDE)}
    assert named <= service.secrets.keys()


def test_no_password_stands_in_the_file():
    for service in SERVICES.values():
        for variable, value in service.environment.items():
            if re.search(r"PASS|TOKEN|SECRET|DATABASE_URL|BROKER_URL", variable):
                assert variable.endswith(("_FILE", "__FILE")), f"{service.name}: {variable}"
            assert not re.search(r"://[^/@]*:[^/@]+@", value), f"{service.name}: {variable}"


def test_images_of_others_are_pinned_to_a_version():
    for service in SERVICES.values():
        if not service.ours:
            tag = service.raw["image"].rpartition(":")[2]
            assert re.match(r"v?\d+(\.\d+)*", tag), service.raw["image"]


def test_every_file_that_is_mounted_is_there_and_every_named_volume_declared():
    content = compose.load()
    for service in SERVICES.values():
        for mount in service.raw.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (compose.ROOT / source).exists(), f"{service.name}: {source}"
            else:
                assert source in content["volumes"], f"{service.name}: {source}"
