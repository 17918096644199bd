"""docs/operations/acts.md: what the page shows of the SDK runs, on a saga that is stuck."""

from __future__ import annotations

from typing import Any

from amends.outbox import wire
from amends.participants import Client
from tests.docs.snippets import snippets
from tests.doors.house import House
from tests.engine.scripted import reply

(SNIPPET,) = (one.code for one in snippets("docs/operations/acts.md"))


def test_the_pages_acts_move_stuck_sagas_on(house: House) -> None:
    unlocked: list[bool] = []
    house.world.participants["payments"].script = lambda command: reply(
        command, "payments", "refused", reason="card declined"
    )

    def inventory(command: wire.Command) -> wire.Reply | None:
        if command.op is wire.Op.UNDO and not unlocked:
            return reply(command, "inventory", "refused", reason="shelf is locked")
        return reply(command, "inventory", "never" if command.op is wire.Op.FENCE else "done")

    house.world.participants["inventory"].script = inventory
    saga_id = house.start_saga()
    house.stuck(saga_id)
    unlocked.append(True)
    code = SNIPPET.replace("http://coordinator:8080", house.server.url)
    namespace: dict[str, Any] = {"Client": Client, "token": None, "saga_id": saga_id}

    exec(compile(code, "acts.md", "exec"), namespace)

    assert house.ended(saga_id)["status"] == "compensated"
