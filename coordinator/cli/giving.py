"""What commands are given: JSON from a file or the command line, labels, and fields that may be left out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click


def given(**fields: object) -> dict[str, object]:
    """The fields that were given."""
    return {name: value for name, value in fields.items() if value is not None}


def json_input(text: str, option: str = "--input") -> Any:
    """The JSON in a file, on standard input (`-`), or in the text itself. Raises: BadParameter of `option`."""
    source = option
    if text == "-":
        text, source = sys.stdin.read(), "standard input"
    elif not text.lstrip().startswith(("{", "[", '"')) and _is_file(text):
        source = text
        text = Path(text).read_text("utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        if source == option and not text.lstrip().startswith(("{", "[", '"')):
            problem = (
                f"there is no file {text!r}, and it is no JSON; give a file, `-` for standard input, or JSON"
            )
            raise click.BadParameter(problem, param_hint=option) from None
        mend = "give a file, `-` for standard input, or JSON" if source == option else "it must be JSON"
        raise click.BadParameter(f"{source} is no JSON ({error}); {mend}", param_hint=option) from None


def labels_given(pairs: tuple[str, ...]) -> dict[str, str]:
    """Labels from `K=V`. Raises: BadParameter of `--label`."""
    labels = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{pair!r} is not K=V", param_hint="--label")
        labels[name] = value
    return labels


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False
