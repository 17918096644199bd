"""What every command here shares: its options, and the coordinator it speaks to.

Errors are raised: `amends.db.cli` tells them on standard error and exits with 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from amends.coordinator.config import command_settings

if TYPE_CHECKING:
    from amends.coordinator.cli.client import Api

F = TypeVar("F", bound=Callable[..., Any])


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
    # It speaks HTTP: what only looks into a database needs no such library.
    from amends.coordinator.cli.client import Api

    api = Api(command_settings())
    try:
        yield api
    finally:
        api.close()
