"""Every command of docker-compose.yml is one that the real command line takes, and names what there is."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click
import pytest

from amends.coordinator.cli.loading import load_saga
from amends.db.cli_root import root
from amends.participants import Participant
from tests.deploy import compose

OURS: Final = {service.name: service for service in compose.our_services()}


def parsed(words: tuple[str, ...]) -> tuple[click.Command, dict[str, Any]]:
    """The command these words call, and what it would be given. Raises: click.UsageError; nothing is run."""
    if words[:2] == ("python", "-m"):
        command, rest = import_module(words[2]).jobs, words[3:]
    else:
        assert words[0] == "amends"
        command, rest = root, words[1:]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            raise click.UsageError(f"no command {rest[0]!r}")
        command, rest = found, rest[1:]
    return command, command.make_context(words[0], list(rest)).params


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_command_line_takes_the_command(name):
    parsed(OURS[name].words)


@pytest.mark.parametrize(
    "words",
    [
        ("amends", "coordinate"),
        ("amends", "coordinator", "--aply", "x:y"),
        ("amends", "migrate", "participant"),
        ("amends", "participant"),
    ],
)
def test_a_wrong_command_would_be_told(words):
    with pytest.raises(click.UsageError):
        parsed(words)


def test_the_coordinators_register_sagas_that_exist_and_have_all_their_participants_here():
    participants = set()
    for service in OURS.values():
        if service.words[:2] == ("amends", "participant"):
            participants |= {participant.name for participant in served(service)}
    for service in OURS.values():
        if service.words[:2] == ("amends", "coordinator"):
            for reference in parsed(service.words)[1]["sagas"]:
                assert set(load_saga(reference).definition.participants) <= participants


@pytest.mark.parametrize("name", ["inventory", "payments", "shipping"])
def test_a_participant_is_the_one_its_service_is_named_for(name):
    assert [participant.name for participant in served(OURS[name])] == [name]


def served(service: compose.Service) -> list[Participant]:
    """The participants that a service's command names, as module:name."""
    found = []
    for word in service.words[2:]:
        if not word.startswith("-"):
            module, _, name = word.partition(":")
            participant = getattr(import_module(module), name)
            assert isinstance(participant, Participant)
            found.append(participant)
    return found
