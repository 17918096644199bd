"""An operator's acts: `amends sagas retry|edit|skip|force|compensate|finish`, on one saga or on many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from amends.coordinator.cli.client import Answer
from amends.coordinator.cli.command import coordinator, json_option, reason_option
from amends.coordinator.cli.giving import given, json_input, labels_given
from amends.coordinator.cli.printing import print_json, say, visible

F = TypeVar("F", bound=Callable[..., Any])

_UNDER_WAY: Final = ("running", "compensating", "stuck")
_OPTIONS: Final = (
    click.argument("saga_id", type=click.UUID, required=False),
    click.option(
        "--status", multiple=True, type=click.Choice(_UNDER_WAY), help="Of many: those that are so."
    ),
    click.option("--saga", "--name", "name", help="Of many: those of this name."),
    click.option(
        "--label", "labels", multiple=True, metavar="K=V", help="Of many: those with it; repeatable."
    ),
    click.option("--older", metavar="TIME", help="Of many: started before: `1h` ago, or an ISO time."),
    click.option("--newer", metavar="TIME", help="Of many: started after: `1h` ago, or an ISO time."),
    click.option("--dry-run", is_flag=True, help="Of many: only tell which."),
)


def one_or_many(function: F) -> F:
    """A saga's id, or what narrows many down; with `--reason` and `--json`."""
    function = json_option(reason_option(function))
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command()
@one_or_many
@click.option("--step", "path", help="Only this step. Default: everything that is stuck or waits.")
@click.option("--deadline", metavar="DURATION", help="A new deadline, from now, such as 24h.")
def retry(path: str | None, deadline: str | None, **how: Any) -> None:
    """Make everything outstanding due again; stuck steps in a new round."""
    _act("retry", given(path=path, deadline=deadline), **how)


@click.command()
@one_or_many
@click.option("--step", "path", required=True, help="The step.")
@click.option(
    "--args", "args", required=True, metavar="FILE|JSON", help="Its new args: a file, `-`, or JSON itself."
)
@click.option("--deadline", metavar="DURATION", help="A new deadline, from now, such as 24h.")
def edit(path: str, args: str, deadline: str | None, **how: Any) -> None:
    """Give a step that is not done other args and ask it again, in a new round."""
    _act("edit", {"path": path, "args": json_input(args), **given(deadline=deadline)}, **how)


@click.command()
@one_or_many
@click.option("--step", "path", required=True, help="The stuck step.")
def skip(path: str, **how: Any) -> None:
    """Do without a stuck step, once a closing fence has told what became of it."""
    _act("skip", {"path": path}, **how)


@click.command()
@one_or_many
@click.option("--step", "path", required=True, help="The stuck step.")
@click.option("--result", metavar="FILE|JSON", help="It is done, with this result.")
@click.option("--refuse", is_flag=True, help="It is refused: the saga compensates.")
def force(path: str, result: str | None, refuse: bool, **how: Any) -> None:
    """Say what came of a stuck step, once a closing fence has told that it did not happen."""
    if (result is None) is not refuse:
        raise click.UsageError("say what came of it: --result JSON (null if it has none), or --refuse")
    what: dict[str, object] = {"refuse": True} if result is None else {"result": json_input(result)}
    _act("force", {"path": path, **what}, **how)


@click.command()
@one_or_many
def compensate(**how: Any) -> None:
    """Turn a saga back now."""
    _act("compensate", {}, **how)


@click.command()
@one_or_many
def finish(**how: Any) -> None:
    """End a stuck saga as it is: completed if it was going forward, else compensated."""
    _act("finish", {}, **how)


ACTS: Final = (retry, edit, skip, force, compensate, finish)


def _act(
    act: str,
    fields: dict[str, object],
    *,
    saga_id: UUID | None,
    status: tuple[str, ...],
    name: str | None,
    labels: tuple[str, ...],
    older: str | None,
    newer: str | None,
    dry_run: bool,
    reason: str,
    as_json: bool,
) -> None:
    where = given(name=name, older=older, newer=newer)
    where |= {"status": list(status)} if status else {}
    where |= {"labels": labels_given(labels)} if labels else {}
    if (saga_id is None) is not bool(where):
        raise click.UsageError(
            "give one saga's id, or say which: --status stuck, --saga NAME, --label, --older, --newer"
        )
    what = {**fields, "reason": reason}
    if saga_id is None:
        _many({"what": {"act": act, **what}, "where": where, "dry_run": dry_run}, act, as_json)
    elif dry_run:
        raise click.UsageError("--dry-run is for many sagas; this is one")
    else:
        _one(saga_id, act, what, as_json)


def _one(saga_id: UUID, act: str, body: dict[str, object], as_json: bool) -> None:
    with coordinator() as api:
        done = api.post(f"/sagas/{saga_id}/{act}", body)
    if as_json:
        print_json(done)
    else:
        say(f"{act}: done; saga {done['id']} is {done['status']}")


def _many(body: dict[str, object], act: str, as_json: bool) -> None:
    """Page by page; each saga is told as it is decided. With --json one object a line."""
    counts = {"applied": 0, "refused": 0, "unknown": 0, "would": 0}
    cursor: str | None = None
    with coordinator() as api, _progress(as_json) as progress:
        task = progress.add_task(act, total=None)
        while True:
            page = api.post("/sagas/acts", {**body, "cursor": cursor})
            for one in page["sagas"]:
                counts[one["outcome"]] += 1
                _tell(one, as_json)
            progress.update(task, advance=len(page["sagas"]))
            cursor = page["next"]
            if cursor is None:
                break
    if not any(counts.values()):
        say(f"{act}: no saga that has not ended fits; nothing was done")
    elif not as_json:
        told = f"{counts['would']} would be" if body["dry_run"] else f"{counts['applied']} done"
        unknown = f", {counts['unknown']} unknown" if counts["unknown"] else ""
        say(f"{act}: {told}, {counts['refused']} refused{unknown}")
    if counts["refused"] or counts["unknown"]:
        raise SystemExit(1)


def _progress(as_json: bool) -> Progress:
    """How many sagas were dealt with; on standard error, and only where a person looks on."""
    err = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}: {task.completed:,.0f} sagas"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, transient=True, disable=as_json or not err.is_terminal)


def _tell(one: Answer, as_json: bool) -> None:
    if as_json:
        print_json(one)
    elif one["outcome"] in ("refused", "unknown"):
        click.echo(visible(f"{one['id']} {one['name']}: {one['outcome']}: {one['reason']}"))
    else:
        click.echo(f"{one['id']} {one['name']}: {one['outcome']}; it is {one['status']}")
