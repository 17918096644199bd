"""`amends sagas signal`: tell a saga what it waits for."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

import click

from amends.coordinator.cli.command import coordinator, json_option
from amends.coordinator.cli.giving import json_input
from amends.coordinator.cli.printing import print_json, say


@click.command()
@click.argument("saga_id", type=click.UUID)
@click.argument("name")
@click.option("--payload", metavar="FILE|JSON", help="A file, `-`, or JSON itself. Default: null.")
@click.option("--id", "message_id", metavar="ID", help="Makes it safe to repeat: one id, one signal.")
@json_option
def signal(saga_id: UUID, name: str, payload: str | None, message_id: str | None, as_json: bool) -> None:
    """Give a saga the signal NAME; in an each the numbers of the items follow: approved/3.

    Kept until the saga waits for it; also if the saga has not started yet.
    """
    value = None if payload is None else json_input(payload, "--payload")
    headers = {"Idempotency-Key": message_id} if message_id is not None else {}
    with coordinator() as api:
        told = api.send(f"/sagas/{saga_id}/signals/{quote(name)}", value, headers)
    if as_json:
        print_json(told)
    elif told["outcome"] == "kept":
        say(f"kept: no saga {saga_id} has started yet; it will have the signal when it does")
    elif told["outcome"] == "duplicate":
        say("the saga had this signal before")
    else:
        say(f"signal {name}: the saga has it; it is {told['status']}")
