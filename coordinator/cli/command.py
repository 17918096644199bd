"""What every command here shares: how it fails, how it prints, and the coordinator it speaks to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from amends.coordinator.cli.client import Api
from amends.coordinator.config import command_settings
from amends.coordinator.errors import CoordinatorError
from amends.coordinator.saga.errors import SagaError
from amends.db.errors import DatabaseError
from amends.outbox.errors import OutboxError

F = TypeVar("F", bound=Callable[..., Any])


class Told(click.Command):
    """A command whose errors are told as one message on standard error, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except (CoordinatorError, SagaError, DatabaseError, OutboxError) as error:
            raise click.ClickException(visible(str(error))) from error


class Commands(click.Group):
    """A group of such commands."""

    command_class = Told


def json_option(function: F) -> F:
    """The `--json` flag."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")(function)


def reason_option(function: F) -> F:
    """The `--reason` of an operator's act."""
    return click.option("--reason", required=True, help="Why; kept in the audit with the token's name.")(
        function
    )


@contextmanager
def coordinator() -> Iterator[Api]:
    """The coordinator that AMENDS_URL names. Raises: InvalidSetting."""
    api = Api(command_settings())
    try:
        yield api
    finally:
        api.close()


def console() -> Console:
    """Standard output for people."""
    return Console(highlight=False, soft_wrap=False)


def say(message: str) -> None:
    """A message for people, on standard error: standard output is for results."""
    click.echo(visible(message), err=True)


def print_json(value: object) -> None:
    """One JSON value on one line of standard output."""
    click.echo(json.dumps(value, ensure_ascii=False))


def visible(text: str) -> str:
    """The text without control characters: what services send must not steer a terminal."""
    return "".join(one if one.isprintable() or one == "\n" else "�" for one in text)


def cell(value: object, style: str = "") -> Text:
    """A table's cell: plain text, never markup."""
    return Text("" if value is None else visible(str(value)), style=style)
