"""The `amends` command: where it starts, and what a person sees when it fails.

Each package brings its subcommands through entry points of the group `amends.commands`; `amends.db.cli_root` finds
them. This module needs nothing but the standard library, so that it can say what is missing.
"""

from __future__ import annotations

import sys
from typing import Final

from amends.db.errors import MissingExtra

# Which extra brings a module that a command may lack.
_EXTRAS: Final = {
    "click": "cli",
    "rich": "cli",
    "psycopg": "postgresql",
    "alembic": "migrations",
    "fastapi": "coordinator",
    "uvicorn": "coordinator",
    "httpx": "coordinator",
    "jsonschema_rs": "coordinator",
    "watchfiles": "embedded",
}


def main() -> None:
    """Run the command line; exit 0 if it worked, 1 with one clear message if not, 2 if it was called wrongly."""
    try:
        from amends.db.cli_root import root

        root(prog_name="amends")
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        _fail(missing)
    except Exception as error:
        if not is_ours(error):
            raise
        _fail(error)


def is_ours(error: Exception) -> bool:
    """Whether amends raised it on purpose: its message says what happened and the mend, a traceback says no more."""
    return any(base.__module__.startswith("amends.") for base in type(error).__mro__)


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """The mend for a module that comes with an extra; None if it is none of ours."""
    module = (error.name or "").partition(".")[0]
    return MissingExtra(f"this command ({module})", _EXTRAS[module]) if module in _EXTRAS else None


def _fail(error: Exception) -> None:
    print(f"amends: {error}", file=sys.stderr)  # noqa: T201 - The command's answer; click may be missing.
    sys.exit(1)


if __name__ == "__main__":
    main()
