"""Every variable of docker-compose.yml is one that the real settings read, and its value one that they take."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from amends.coordinator.config import command_settings, coordinator_settings
from amends.db.config import Environment
from amends.db.errors import InvalidSetting
from amends.demo.shop.front import SERVICE
from amends.outbox.config import relay_settings
from amends.participants.config import participant_settings
from tests.deploy import compose

OURS: Final = {service.name: service for service in compose.our_services()}
VARIABLES: Final = [(name, variable) for name, service in OURS.items() for variable in service.environment]


def settings_of(words: tuple[str, ...], environment: Environment) -> object:
    """What the command would work with. Raises: InvalidSetting."""
    match words[:2]:
        case ("amends", "coordinator"):
            settings = vars_of(coordinator_settings(environment))
            return {**settings, "tokens": repr(settings["tokens"])}
        case ("amends", "participant"):
            return vars_of(participant_settings(environment))
        case ("amends", "relay"):
            return vars_of(relay_settings(environment))
        case ("amends", "sagas"):
            return vars_of(command_settings(environment))
        case ("amends", "migrate") | ("python", "-m"):
            return environment.database_url()
    raise AssertionError(f"nothing is known of the settings of {words}")


def vars_of(settings: object) -> dict[str, object]:
    """A settings object by its fields; its own text hides secrets."""
    return {name: getattr(settings, name) for name in type(settings).__slots__}  # type: ignore[attr-defined]


def environment_of(service: compose.Service, secrets: Path, **changed: str) -> Environment:
    """The service's variables, with its secrets where the test has them."""
    seen = {path: str(secrets / file_of(name)) for path, name in service.secrets.items()}
    values = {name: seen.get(value, value) for name, value in service.environment.items()}
    return Environment({**values, **changed})


def file_of(secret: str) -> str:
    return Path(compose.load()["secrets"][secret]["file"]).name


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_settings_of_a_service_are_taken_as_they_are(name, secrets):
    settings_of(OURS[name].words, environment_of(OURS[name], secrets))


@pytest.mark.parametrize(("name", "variable"), VARIABLES)
def test_no_variable_is_one_that_nobody_reads(name, variable, secrets):
    service = OURS[name]
    as_it_is = settings_of(service.words, environment_of(service, secrets))

    try:
        changed = settings_of(
            service.words, environment_of(service, secrets, **{variable: "/not/what/it/was"})
        )
    except InvalidSetting as error:
        told = error.name
    else:
        told = variable if changed != as_it_is else "nobody"
    assert told in (variable, variable.removesuffix("_FILE"))


def test_a_variable_that_nobody_reads_would_be_told(secrets):
    service = OURS["coordinator-1"]
    misspelt, other = (environment_of(service, secrets, AMENDS_HTTP_PROT=port) for port in ("8080", "8081"))

    assert settings_of(service.words, misspelt) == settings_of(service.words, other)


def test_a_coordinator_in_a_container_is_open_to_others_and_so_has_tokens(secrets):
    for name in ("coordinator-1", "coordinator-2"):
        settings = coordinator_settings(environment_of(OURS[name], secrets))

        assert settings.host == "0.0.0.0"
        assert len(settings.tokens) == 4


def test_everybody_speaks_to_the_same_broker_under_the_same_prefix(secrets):
    coordinator = coordinator_settings(environment_of(OURS["coordinator-1"], secrets))
    relay = relay_settings(environment_of(OURS["front-relay"], secrets))

    for name in ("inventory", "payments", "shipping"):
        participant = participant_settings(environment_of(OURS[name], secrets))
        assert (participant.broker_url, participant.prefix) == (coordinator.broker_url, coordinator.prefix)
    assert (relay.broker_url, relay.prefix) == (coordinator.broker_url, coordinator.prefix)


def test_the_relay_listens_for_the_receipts_of_the_service_that_starts_sagas(secrets):
    assert relay_settings(environment_of(OURS["front-relay"], secrets)).service == SERVICE
