"""Calls where messages are signed: an answer is believed as any message is."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from amends.outbox import open_broker
from amends.outbox.sealing import Seal, SigningKeys
from amends.participants import CallTimeout
from tests.calls.conftest import MakeClient, StartWorker
from tests.calls.servers import Add, Sum, calculator
from tests.servers.rabbit import RabbitServer


def seal(key: bytes) -> Seal:
    """What signs with this key."""
    return Seal(keys=SigningKeys({"one": key * 32}))


def test_a_signed_call_is_answered_and_another_key_is_not_believed(
    start_worker: StartWorker, make_client: MakeClient, participant_database: Engine, rabbit: RabbitServer
) -> None:
    """A command under another key is dead-lettered, and never answered."""
    start_worker(calculator, broker=open_broker(rabbit.url, seal=seal(b"1")))
    ours = make_client(broker=open_broker(rabbit.url, seal=seal(b"1")))
    another = make_client(broker=open_broker(rabbit.url, seal=seal(b"2")))

    assert ours.call("calculator", "add", Add(1, 1), result=Sum, timeout=60) == Sum(2)
    with pytest.raises(CallTimeout):
        another.call("calculator", "add", Add(1, 1), timeout=1)
