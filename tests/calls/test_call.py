"""`client.call`: the answer, or what stands in its way."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec import Struct
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, text

from amends.outbox import open_broker
from amends.outbox.errors import BrokerUnavailable, MessageTooLarge
from amends.outbox.ports import Broker
from amends.participants import (
    CallFailed,
    CallRefused,
    CallTimeout,
    Client,
    InvalidInput,
    Participant,
)
from amends.participants.errors import InvalidPayload
from amends.participants.metrics import ParticipantMetrics
from tests.calls.conftest import MakeClient, StartWorker
from tests.calls.servers import Add, Sum, calculator
from tests.servers.rabbit import PrivateRabbit, RabbitServer
from tests.waiting import DEADLINE_S, eventually

DONE = "SELECT count(*) FROM amends_barrier WHERE outcome = 'done'"


def rows(engine: Engine, query: str) -> int:
    """What a counting query says."""
    with engine.connect() as connection:
        return int(connection.scalar(text(query)) or 0)


def test_a_call_gives_what_the_handler_returns(start_worker: StartWorker, make_client: MakeClient) -> None:
    start_worker(calculator)
    client = make_client()

    assert client.call("calculator", "add", {"a": 2, "b": 3}) == {"total": 5}
    assert client.call("calculator", "add", Add(2, 3), result=Sum) == Sum(5)


def test_many_calls_at_once_each_get_their_own_answer(
    start_worker: StartWorker, make_client: MakeClient, rabbit: RabbitServer
) -> None:
    start_worker(calculator, threads=8)
    client = make_client()
    before = threading.active_count()

    with ThreadPoolExecutor(20) as pool:
        totals = list(
            pool.map(
                lambda n: client.call("calculator", "add", Add(n, n), result=Sum, timeout=60).total,
                range(200),
            )
        )

    assert totals == [2 * n for n in range(200)]
    assert threading.active_count() - before <= 2, "one thread sends for all, one receives"


def test_async_calls_share_a_loop(start_worker: StartWorker, make_client: MakeClient) -> None:
    start_worker(calculator)
    client = make_client()

    async def ask() -> list[Sum]:
        asked = (client.acall("calculator", "add", Add(n, 1), result=Sum, timeout=60) for n in range(50))
        return list(await asyncio.gather(*asked))

    assert [one.total for one in asyncio.run(ask())] == [n + 1 for n in range(50)]


def test_a_business_no_and_a_failure_are_exceptions(
    start_worker: StartWorker, make_client: MakeClient
) -> None:
    start_worker(calculator)
    client = make_client()

    with pytest.raises(CallRefused, match="division by zero") as refused:
        client.call("calculator", "divide", Add(1, 0))
    with pytest.raises(CallFailed, match="not today") as failed:
        client.call("calculator", "doubt", Add(1, 0))
    with pytest.raises(CallRefused, match="invalid_args"):
        client.call("calculator", "divide", {"a": 1})
    with pytest.raises(CallFailed, match="unknown_command"):
        client.call("calculator", "multiply", {})
    with pytest.raises(CallRefused, match="result_too_large"):
        client.call("calculator", "large", Add(2_000_000, 0))

    assert (refused.value.reason, refused.value.certain) == ("division by zero", True)
    assert failed.value.retry_after_s == 7


def test_bad_calls_are_told_before_anything_is_sent(make_client: MakeClient) -> None:
    client = make_client()

    with pytest.raises(InvalidInput, match="participant"):
        client.call("no.such", "add")
    with pytest.raises(InvalidInput, match="timeout"):
        client.call("calculator", "add", timeout=0)
    with pytest.raises(InvalidInput, match="JSON"):
        client.call("calculator", "add", object())
    with pytest.raises(InvalidInput, match="key"):
        client.call("calculator", "add", key="")
    with pytest.raises(MessageTooLarge):
        client.call("calculator", "add", "x" * 2_000_000)
    with pytest.raises(InvalidInput, match="broker="):
        Client("shop").call("calculator", "add")


def test_an_answer_of_another_type_is_told(start_worker: StartWorker, make_client: MakeClient) -> None:
    class Other(Struct):
        product: int

    start_worker(calculator)
    with pytest.raises(InvalidPayload, match="product"):
        make_client().call("calculator", "add", Add(1, 1), result=Other)


def test_the_same_key_is_the_same_call(
    start_worker: StartWorker, make_client: MakeClient, participant_database: Engine
) -> None:
    """B1. Guard: `call_id_of`; with a random id each was obeyed."""
    start_worker(calculator)
    first = make_client().call("calculator", "tally", Add(1, 0), key="order-1")
    again = make_client().call("calculator", "tally", Add(2, 0), key="order-1")
    other = make_client("desk").call("calculator", "tally", Add(3, 0), key="order-1")

    assert (first, again, other) == (1, 1, 3)
    assert rows(participant_database, "SELECT count(*) FROM tally") == 2


def test_nobody_obeys_what_nobody_waits_for_any_more(
    start_worker: StartWorker,
    make_client: MakeClient,
    participant_database: Engine,
    broker: Broker,
    prefix: str,
) -> None:
    """The command expires in the queue. Guard: `expiration_ms`; without it the late worker obeyed."""
    worker = start_worker(calculator)
    client = make_client()
    client.call("calculator", "tally", Add(0, 0))
    worker.stop()

    with pytest.raises(CallTimeout, match=r"no answer in 0\.3 s"):
        client.call("calculator", "tally", Add(0, 0), timeout=0.3)
    queue = f"{prefix}.calculator.do"
    eventually(lambda: broker.look([queue], timeout_s=5)[queue].ready == 0, what="the call to expire")  # type: ignore[union-attr]
    start_worker(calculator)
    client.call("calculator", "add", Add(0, 0), timeout=60)

    assert rows(participant_database, "SELECT count(*) FROM tally") == 1


def test_a_participant_that_never_ran_is_told(make_client: MakeClient) -> None:
    with pytest.raises(CallTimeout, match="does it run"):
        make_client().call("calculator", "add", Add(0, 0), timeout=1)


def test_a_participant_that_comes_late_is_waited_for(
    start_worker: StartWorker, make_client: MakeClient
) -> None:
    """Returned calls are sent again. Guard: `_later` in `_settle`; without it the call timed out."""
    client = make_client()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.call, "calculator", "add", Add(1, 1), result=Sum, timeout=60)
        eventually(
            lambda: client._board is not None and client._board[1]._later, what="the call to come back"
        )
        start_worker(calculator)
        assert asked.result(DEADLINE_S) == Sum(2)


def test_a_late_answer_is_ignored_and_its_outbox_row_goes(
    start_worker: StartWorker, make_client: MakeClient, participant_database: Engine
) -> None:
    start_worker(calculator)
    client = make_client()

    with pytest.raises(CallTimeout):
        client.call("calculator", "slow", Add(800, 0), timeout=0.3)
    assert client.call("calculator", "add", Add(1, 1), result=Sum, timeout=60) == Sum(2)
    eventually(lambda: rows(participant_database, "SELECT count(*) FROM amends_barrier") == 2)
    eventually(lambda: rows(participant_database, "SELECT count(*) FROM amends_outbox") == 0)


def test_an_answer_to_a_client_that_is_gone_is_dropped(
    start_worker: StartWorker, make_client: MakeClient, participant_database: Engine
) -> None:
    """Nothing is parked. Guard: HEADER_OPTIONAL in `Inbound.reply`; without it the row stayed, as returned."""
    start_worker(calculator)
    client = make_client()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.call, "calculator", "slow", Add(800, 0), timeout=60)
        eventually(lambda: client._board is not None and client._board[1]._waiting, what="the call")
        eventually(
            lambda: any(one.confirmed for many in client._board[1]._waiting.values() for one in many),  # type: ignore[index]
            what="the call to be sent",
        )
        client.close()
        with pytest.raises(BrokerUnavailable, match="closed"):
            asked.result(DEADLINE_S)

    eventually(
        lambda: rows(participant_database, "SELECT count(*) FROM amends_barrier WHERE outcome = 'done'") == 1
    )
    eventually(lambda: rows(participant_database, "SELECT count(*) FROM amends_outbox") == 0)


def test_without_a_broker_a_call_says_so_in_time() -> None:
    client = Client("shop", broker="pyamqp://guest:guest@127.0.0.1:1//")
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="not confirmed by the broker"):
        client.call("calculator", "add", timeout=0.5)
    assert time.monotonic() - began < 5
    client.close()


def test_calls_work_in_process(sqlite_database: Engine) -> None:
    """The embedded mode's broker: the mailbox goes with its client."""
    broker = open_broker("memory://calls")
    worker = calculator.worker(
        database=sqlite_database, broker=broker, prefix="m", metrics=ParticipantMetrics(CollectorRegistry())
    )
    worker.start()
    client = Client("shop", prefix="m", broker=broker)
    answer = client.call("calculator", "add", Add(1, 1), result=Sum, timeout=60)
    with pytest.raises(CallTimeout, match="does it run"):
        client.call("nobody", "add", timeout=0.3)
    client.close()
    worker.stop()
    broker.close()
    assert answer == Sum(2)


def test_a_lock_in_the_way_is_waited_for(start_worker: StartWorker, make_client: MakeClient) -> None:
    """An unspent failure is "not now". Guard: `_put_off`; without it this was CallFailed."""
    start_worker(calculator, lock_timeout_s=0.1)
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(make_client().call, "calculator", "slow", Add(900, 0), timeout=60, key="one")
            for _ in range(2)
        ]
        assert [one.result(DEADLINE_S) for one in asked] == [900, 900]


def test_a_broker_that_is_restarted_in_mid_call_costs_no_call(
    private_rabbit: PrivateRabbit, participant_database: Engine
) -> None:
    """The mailbox is gone with its connection: sent again. Guard: `_moved`; without it the call timed out."""
    release, begun = threading.Event(), []
    participant = Participant("patient")

    @participant.command
    def work(cmd: dict[str, int]) -> str:
        begun.append(1)
        assert release.wait(DEADLINE_S)
        return "done"

    worker = participant.worker(
        database=participant_database, broker=private_rabbit.url, prefix="p", grace_s=5
    )
    worker.start()
    client = Client("shop", prefix="p", broker=private_rabbit.url)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.call, "patient", "work", {}, timeout=80)
        eventually(lambda: begun, what="the handler to begin")
        private_rabbit.stop()
        release.set()
        eventually(
            lambda: (
                rows(participant_database, "SELECT count(*) FROM amends_barrier WHERE outcome = 'done'") == 1
            )
        )
        private_rabbit.start()
        assert asked.result(DEADLINE_S) == "done"
    client.close()
    worker.stop()
    assert len(begun) == 1
