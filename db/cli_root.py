"""The root of the command line: a group whose subcommands are loaded when they are called."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points, version
from typing import Final

import click

from amends.db.cli import missing_extra

_GROUP: Final = "amends.commands"


class _Commands(click.Group):
    """The subcommands of every installed package. Calling one imports none of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, by alphabet."""
        return sorted({*super().list_commands(ctx), *_found()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one; None if there is none of that name."""
        entry = _found().get(cmd_name)
        return super().get_command(ctx, cmd_name) if entry is None else _load(entry)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List all with their first lines; one that cannot be imported says so instead of breaking the list."""
        rows = []
        for name in self.list_commands(ctx):
            try:
                command = self.get_command(ctx, name)
            except ImportError as error:
                rows.append((name, _why_not(error)))
            else:
                rows.append((name, command.get_short_help_str(limit=80) if command else ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _why_not(error: ImportError) -> str:
    missing = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
    return f"(needs: pip install 'amends[{missing.extra}]')" if missing else f"(cannot be loaded: {error})"


def _found() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_GROUP)}


def _load(entry: EntryPoint) -> click.Command:
    command = entry.load()
    if not isinstance(command, click.Command):
        raise TypeError(f"entry point {entry.name} = {entry.value} is no click command")
    return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("amends"), prog_name="amends")
def root() -> None:
    """Sagas across services: they complete everywhere, or are amended."""
