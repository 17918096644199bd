"""The receipts of one service, as its relay would read them."""

from __future__ import annotations

from amends.outbox import wire
from amends.outbox.ports import receipts_queue
from tests.engine.world import World
from tests.waiting import eventually


class Receipts:
    """Reads the receipts of one service."""

    def __init__(self, world: World) -> None:
        self.queue = receipts_queue(world.prefix, "shop")
        self._consumer = world.broker.consumer([self.queue], prefetch=100)
        self._consumer.receive(0)
        self.got: list[wire.Receipt] = []

    def wait(self, count: int) -> list[wire.Receipt]:
        """Every receipt so far, once there are so many."""

        def enough() -> bool:
            for delivery in self._consumer.receive(0.05):
                body = wire.decode(delivery.type, delivery.body)
                assert isinstance(body, wire.Receipt)
                self.got.append(body)
                self._consumer.ack([delivery.tag])
            return len(self.got) >= count

        eventually(enough, what=f"{count} receipts")
        return self.got
