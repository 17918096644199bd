"""What the page says of Celery's canvas is true: each primitive and its saga have the same result."""

from __future__ import annotations

from contextlib import ExitStack

from examples.celery_canvas.__main__ import both_ways
from examples.servers import Servers
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer


def test_each_primitive_and_its_saga_have_the_same_result(
    postgres: PostgresServer, rabbit: RabbitServer
) -> None:
    with ExitStack() as stack:
        found = {name: (theirs, ours) for name, theirs, ours in both_ways(Servers(postgres, rabbit, stack))}

    assert set(found) == {"chain", "group", "chord", "map", "starmap", "chunks"}
    assert all(theirs == ours for theirs, ours in found.values()), found
    assert found["chord"] == (21, 21)
