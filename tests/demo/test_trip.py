"""The trip (examples/trip): children, signals, choices, events, try/confirm/cancel, with PostgreSQL and RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from amends.db import participant as participant_tables
from amends.db.engines import open_engine
from amends.outbox.ports import Broker
from examples.trip.participants import DECLINED, participants
from examples.trip.sagas import Traveller, Trip
from examples.trip.serving import World, served

ANN, BOB, CEM = (Traveller("Ann", "Rome"), Traveller("Bob", "Kyiv"), Traveller("Cem", "Bonn"))


@pytest.fixture
def world(coordinator_database: Engine, broker: Broker, prefix: str, tmp_path: Path) -> Iterator[World]:
    names = [participant.name for participant in participants]
    databases = {name: open_engine(f"sqlite:///{tmp_path / name}.sqlite") for name in names}
    for database in databases.values():
        participant_tables.create(database)
    with served(coordinator_database, databases, broker, prefix=prefix) as world:
        yield world
    for database in databases.values():
        database.dispose()


def test_whoever_can_travel_has_seat_room_and_mail_and_nobody_else_has_anything(world: World) -> None:
    """A trip that completes, a dear one that is approved early, one that nobody pays, one without rooms enough."""
    good = world.order(Trip("1", "Oslo", "4111", 90_000, [ANN, BOB]))
    dear = world.order(Trip("2", "Oslo", "4222", 900_000, [CEM]))
    world.approve(dear, "Dana")
    unpaid = world.order(Trip("3", "Oslo", DECLINED, 10_000, [ANN, CEM]))
    full = world.order(Trip("4", "Venice", "4111", 70_000, [ANN, BOB, CEM]))

    world.wait(good, dear, unpaid, full)

    assert world.end(good) == ("completed", "")
    assert world.end(dear) == ("completed", "")
    assert world.end(unpaid) == ("compensated", "step 'charge' was refused: card declined")
    status, why = world.end(full)
    assert status == "compensated"
    assert why.endswith("step 'room' was refused: the hotel in Venice is full")
    travelled = [("Ann", "Oslo", "taken"), ("Bob", "Oslo", "taken"), ("Cem", "Oslo", "taken")]
    assert sorted(world.booked("airline")) == travelled
    assert sorted(world.booked("hotel")) == travelled
    assert sorted(world.booked("payments")) == [("4111", "90000", "paid"), ("4222", "900000", "paid")]
    assert sorted(who for who, _, _ in world.booked("mail")) == ["Ann", "Bob", "Cem"]


def test_a_trips_number_is_its_key_and_its_city_its_label(world: World) -> None:
    wanted = Trip("5", "Oslo", "4111", 90_000, [ANN])

    first, again = world.order(wanted), world.order(wanted)
    world.wait(first)

    assert first == again
    assert world.labels(first) == {"city": "Oslo"}
