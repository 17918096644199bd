"""Many sagas at once over a network that loses, repeats and reorders, with handlers that fail: all ends well."""

from __future__ import annotations

import random
import time
from threading import Lock
from typing import Final

from amends.coordinator import Saga, chain, group, pivot, retry, step
from amends.outbox.message import Message
from amends.outbox.wire import Op
from amends.participants import Ctx, Refused
from amends.participants.context import idempotency_key
from tests.interleavings.network import Network, Parcel
from tests.interleavings.services import Act, break_off, refuse
from tests.interleavings.town import Town, Trip, carrier
from tests.waiting import eventually

SEED: Final = 20
SAGAS: Final = 40
STORM_S: Final = 2.0
BRISK = retry(first="50ms", factor=1)
HASTY = {"timeout": "300ms", "retry": BRISK, "undo_timeout": "300ms", "undo_retry": BRISK}
ORDER = Saga(
    "stormy-order",
    chain(
        step("reserve", to="inventory", undo="release", **HASTY),
        group(
            step("charge", to="payments", undo="refund", **HASTY),
            step("charge-again", do="charge", to="inventory", undo="refund", **HASTY),
        ),
        pivot(step("dispatch", to="shipping", **HASTY)),
        step("notify", to="payments", **HASTY),
    ),
    version=1,
)


class Storm:
    """Takes a third of all commands and replies; gives them back late, shuffled, twice, or not at all."""

    def __init__(self, network: Network, seed: int) -> None:
        self._network = network
        self._random = random.Random(seed)
        self._lock = Lock()
        self._taken: list[Message] = []
        self._over = False
        network.hold_by(self)

    def takes(self, parcel: Parcel) -> bool:
        """Whether this one is blown away."""
        with self._lock:
            ours = parcel.is_a("command", {"name": ORDER.name}) or parcel.is_a("reply", {})
            blown = ours and not self._over and self._random.random() < 0.33
            if blown:
                self._taken.append(parcel.message)
            return blown

    def gust(self) -> None:
        """Some of what was taken comes down."""
        with self._lock:
            chance = self._random.random
            down = [message for message in self._taken if chance() < 0.3]
            self._taken = [message for message in self._taken if message not in down]
            falling = [message for message in down for _ in range(self._random.choice((0, 1, 1, 2)))]
            self._random.shuffle(falling)
        self._network.send(falling)

    def end(self) -> None:
        """Nothing is taken any more; all that was taken comes down."""
        with self._lock:
            self._over = True
            left, self._taken = self._taken, []
        self._network.send(left)


def stumble(ctx: Ctx) -> object:
    """It does not work this time."""
    raise RuntimeError("stumbled")


def decliner(town: Town) -> Act:
    """The carrier says no, and has done nothing."""

    def decline(ctx: Ctx) -> object:
        carrier(town).done.discard(ctx.idempotency_key)
        raise Refused("declined")

    return decline


def misfortunes(town: Town, chance: random.Random) -> dict[tuple[str, str], list[Act]]:
    """What the handlers of one saga run into."""
    decline = decliner(town)
    return {
        ("inventory", "reserve"): [refuse()] if chance.random() < 0.1 else [],
        ("inventory", "charge"): [stumble] if chance.random() < 0.2 else [],
        ("payments", "charge"): [stumble, refuse()][chance.randrange(3) :],
        ("payments", "refund"): [stumble] * chance.randrange(3),
        ("shipping", "dispatch"): [[], [break_off], [decline], [break_off, decline]][chance.randrange(4)],
        ("payments", "notify"): [refuse(), stumble] if chance.random() < 0.1 else [],
    }


def test_sagas_in_a_storm_end_with_all_or_nothing(town: Town) -> None:
    """Invariants 1 to 6, 9 and 10; what is stuck says why, and ends once an operator retries."""
    chance = random.Random(SEED)
    trips = [town.trip(ORDER, key=f"storm-{number}") for number in range(SAGAS)]
    storm = Storm(town.network, SEED)
    for trip in trips:
        for (service, command), acts in misfortunes(town, chance).items():
            trip.on(service, command, *acts)
        trip.start()
    calm_at = time.monotonic() + STORM_S

    def blown_over() -> bool:
        storm.gust()
        for trip in trips:
            retry_if_stuck(town, trip)
        return time.monotonic() > calm_at

    eventually(blown_over, STORM_S + 30, what="the storm to be over")
    storm.end()

    def all_ended() -> bool:
        return all(retry_if_stuck(town, trip) in ("completed", "compensated") for trip in trips)

    eventually(all_ended, what="every saga to end")
    eventually(town.world.drained, what="the outbox to be empty")
    for trip in trips:
        assert_all_or_nothing(town, trip)
        assert trip.replays()


def retry_if_stuck(town: Town, trip: Trip) -> str | None:
    """As an operator does; the saga's status."""
    status = town.world.status(trip.id)
    if status == "stuck":
        assert trip.stuck_at()
        trip.retry()
    return status


def assert_all_or_nothing(town: Town, trip: Trip) -> None:
    """What happened, and what was undone, in every service."""
    shipped = idempotency_key(trip.id, "dispatch", Op.DO) in carrier(town).done
    inventory, payments = trip.effects("inventory"), trip.effects("payments")
    if town.world.status(trip.id) == "completed":
        assert shipped
        assert sorted(inventory) == ["charge", "reserve"]
        assert payments == ["charge", "notify"]
        return
    assert not shipped
    assert payments in ([], ["charge", "refund"])
    assert [one for one in inventory if one in ("charge", "refund")] in ([], ["charge", "refund"])
    assert [one for one in inventory if one in ("reserve", "release")] in ([], ["reserve", "release"])
    if inventory and payments:
        assert inventory[-1] == "release"
