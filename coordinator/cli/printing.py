"""How the commands print: results to standard output, messages to standard error."""

from __future__ import annotations

import json
import sys
from typing import Final

import click
from rich.console import Console
from rich.text import Text

PIPE_COLUMNS: Final = 200


def console() -> Console:
    """Standard output for people; wide where it goes to a file or a pipe, so that nothing is cut."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def say(message: str) -> None:
    """A message for people."""
    click.echo(visible(message), err=True)


def print_json(value: object) -> None:
    """One JSON value on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def visible(text: str) -> str:
    """The text without control characters: what services send must not steer a terminal."""
    return "".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text)


def cell(value: object, style: str = "") -> Text:
    """A table's cell: plain text, never markup."""
    return Text("" if value is None else visible(str(value)), style=style)
