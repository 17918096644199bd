"""`amends dead`: what nobody could deal with, given back once the cause is mended, or dropped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from amends.db.config import Environment
from amends.outbox.broker import open_broker
from amends.outbox.config import broker_settings
from amends.outbox.dead_letters import DeadLetterBox, Letter, Verdict

_LETTERS_MAX: Final = 1_000
_BODY_CHARS: Final = 200


@click.group()
def dead() -> None:
    """Look at the dead letters of a prefix; give them back to their queues, or drop them."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Which broker, and which of its letters."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
        click.option(
            "--limit",
            type=click.IntRange(1, 65_535),
            default=_LETTERS_MAX,
            show_default=True,
            help="Look at so many, oldest first.",
        ),
        click.option("--reason", metavar="TEXT", help="Only those whose reason has this in it."),
        click.option("--queue", metavar="NAME", help="Only those that came from this queue."),
        click.option("--id", "ids", metavar="ID", multiple=True, help="Only this message; repeatable."),
        click.option("--prefix", metavar="NAME", help="What queues begin with: AMENDS_PREFIX, else amends."),
        click.option("--broker", metavar="URL", help="Otherwise AMENDS_BROKER_URL or its _FILE."),
    ):
        command = option(command)
    return command


@dead.command(name="list")
@click.option("--body", is_flag=True, help=f"Show the first {_BODY_CHARS} characters of each body.")
@_options
def list_(body: bool, as_json: bool, limit: int, **chosen: Any) -> None:
    """List them, oldest first. Each goes to the end of the queue."""
    wanted = _wanted(**_filters(chosen))
    found: list[Letter] = []

    def keep(letter: Letter) -> Verdict:
        if wanted(letter):
            found.append(letter)
        return "keep"

    with _box(chosen) as box:
        seen = box.sort(keep, letters_max=limit).seen
    for letter in found:
        click.echo(_json(letter, body) if as_json else _line(letter, body))
    if not as_json:
        more = f"; of the {seen} looked at" if len(found) != seen else ""
        click.echo(f"{len(found)} dead letters{more}")


@dead.command()
@click.option("--all", "every", is_flag=True, help="Every one that may go back.")
@click.option(
    "--trust", is_flag=True, help="Also those whose signature did not fit: they are signed anew, as ours."
)
@_options
def replay(every: bool, trust: bool, as_json: bool, limit: int, **chosen: Any) -> None:
    """Give letters back to the queues they came from, as they were."""
    filters = _chosen(every, chosen)
    wanted = _wanted(**filters)
    replayed: list[Letter] = []
    left: list[tuple[Letter, str]] = []

    def decide(letter: Letter) -> Verdict:
        if not wanted(letter):
            return "keep"
        why = letter.unreplayable or ("" if trust else letter.fault)
        if why:
            left.append((letter, why))
            return "keep"
        replayed.append(letter)
        return "replay"

    with _box(chosen) as box:
        unsent = [letter for letter in box.sort(decide, letters_max=limit).unsent if letter in replayed]
    left += [(letter, f"no queue {letter.queue!r} takes it") for letter in unsent]
    if as_json:
        click.echo(
            json.dumps({"replayed": len(replayed) - len(unsent), "left": {one.id: why for one, why in left}})
        )
        return
    for letter, why in left:
        click.echo(f"left: {letter.id}: {why}")
    click.echo(f"{len(replayed) - len(unsent)} given back")


@dead.command()
@click.option("--all", "every", is_flag=True, help="Every one.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_options
def drop(every: bool, yes: bool, as_json: bool, limit: int, **chosen: Any) -> None:
    """Delete letters for good."""
    filters = _chosen(every, chosen)
    if not yes:
        click.confirm("They cannot be had back. Drop them?", abort=True, err=True)
    wanted = _wanted(**filters)
    dropped: list[Letter] = []

    def decide(letter: Letter) -> Verdict:
        if not wanted(letter):
            return "keep"
        dropped.append(letter)
        return "drop"

    with _box(chosen) as box:
        box.sort(decide, letters_max=limit)
    click.echo(json.dumps({"dropped": len(dropped)}) if as_json else f"{len(dropped)} dropped")


def _filters(chosen: dict[str, Any]) -> dict[str, Any]:
    return {name: chosen[name] for name in ("ids", "queue", "reason")}


def _chosen(every: bool, chosen: dict[str, Any]) -> dict[str, Any]:
    """The filters. Raises: UsageError without any, unless all are meant."""
    filters = _filters(chosen)
    if every == any(filters.values()):
        raise click.UsageError("say which: --all, or some of --id, --queue, --reason")
    return filters


def _wanted(ids: tuple[str, ...], queue: str | None, reason: str | None) -> Callable[[Letter], bool]:
    def wanted(letter: Letter) -> bool:
        return (
            (not ids or letter.id in ids)
            and (queue is None or letter.queue == queue)
            and (reason is None or reason in letter.reason)
        )

    return wanted


@contextmanager
def _box(chosen: dict[str, Any]) -> Iterator[DeadLetterBox]:
    """The letters of the chosen broker and prefix. Raises: InvalidSetting, BrokerUnavailable."""
    settings = broker_settings(
        Environment.of_this_process(), broker=chosen["broker"], prefix=chosen["prefix"]
    )
    broker = open_broker(settings.url, name="amends dead", seal=settings.seal)
    try:
        yield DeadLetterBox(broker, settings.prefix)
    finally:
        broker.close()


def _json(letter: Letter, body: bool) -> str:
    told: dict[str, Any] = {
        "id": letter.id,
        "type": letter.delivery.type,
        "queue": letter.queue,
        "reason": letter.reason,
        "correlation_id": letter.delivery.correlation_id,
        "bytes": len(letter.delivery.body),
        "truncated": letter.truncated,
    }
    if body:
        told["body"] = letter.delivery.body.decode("utf-8", "replace")
    return json.dumps(told, ensure_ascii=False)


def _line(letter: Letter, body: bool) -> str:
    one = letter.delivery
    line = f"{letter.id}  {one.type or '?'}  {letter.queue or '?'}  {len(one.body):,} bytes  {letter.reason}"
    if body:
        line += f"\n    {one.body[:_BODY_CHARS].decode('utf-8', 'replace')}"
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in line)
