"""How an example tells whether it ended as it should: every check is named, the first wrong one ends the program."""

from __future__ import annotations

import sys

import click


class Verdict:
    """Counts what was checked."""

    def __init__(self) -> None:
        self._checked = 0

    def equal(self, what: str, found: object, wanted: object) -> None:
        """Go on if they are equal. Raises: SystemExit, telling what was found instead."""
        if found != wanted:
            click.echo(f"wrong: {what}: found {found!r} instead of {wanted!r}", err=True)
            sys.exit(1)
        self._checked += 1

    def tell(self, what: str) -> None:
        """The last line: that everything is as it should be."""
        click.echo(f"checked: {what} ({self._checked} checks)")
