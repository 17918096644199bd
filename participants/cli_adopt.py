"""`amends adopt`: prints a patch for a project, and what to do after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from amends.participants.adopting import plans
from amends.participants.adopting.plans import Plan

_KINDS: Final[dict[str, Callable[[Path, str | None], Plan]]] = {
    "django": plans.django,
    "fastapi": plans.fastapi,
    "celery": plans.celery,
}


@click.command()
@click.argument("framework", type=click.Choice(sorted(_KINDS)))
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="Where the project is. Default: here.",
)
@click.option("--service", metavar="NAME", help="What sagas call this service. Default: as the project.")
def adopt(framework: str, project: Path, service: str | None) -> None:
    """Print the exact changes with which this project takes amends in: `amends adopt django | git apply`.

    Standard output is a patch, what to do after it stands on standard error. No file is changed.
    """
    root = project.resolve()
    plan = _KINDS[framework](root, service)
    for change in plan.changes:
        click.echo(change.patch(root), nl=False)
    click.echo("\nThen:", err=True)
    for step in plan.steps:
        click.echo(f"  {step}", err=True)
