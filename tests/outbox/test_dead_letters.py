"""Dead letters: kept whole, listed without being used up, given back as they were, or dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from amends.outbox.broker import open_broker
from amends.outbox.cli_dead import dead
from amends.outbox.dead_letters import DeadLetterBox, Letter, dead_letter
from amends.outbox.ports import Broker, Consumer, Delivery, Topology, dead_letter_queue
from amends.outbox.sealing import Seal, SigningKeys
from tests.outbox.driving import confirmed, received
from tests.servers.rabbit import RabbitServer

BROKEN = Delivery(
    tag=1,
    queue="",
    body=b'{"sum":1}',
    type="amends.command",
    message_id="m-1",
    correlation_id="saga-1",
    reply_to="amends.coordinator",
    content_type="application/json",
    headers={"traceparent": "00-a", "amends-row": "7", "x-delivery-count": 3},
)


@pytest.fixture
def broker(rabbit: RabbitServer, prefix: str) -> Iterator[Broker]:
    opened = open_broker(rabbit.url)
    opened.declare(Topology(queues=frozenset({dead_letter_queue(prefix), f"{prefix}.work"})))
    yield opened
    opened.close()


@pytest.fixture
def letters(broker: Broker, prefix: str) -> list[str]:
    """Four letters: one to give back, one of which only the beginning was kept, one with a fault, one of no queue."""
    queue = f"{prefix}.work"
    copies = [
        dead_letter(of(BROKEN, queue=queue), "no such field", prefix=prefix),
        dead_letter(
            of(BROKEN, queue=queue, message_id="m-2", body=b"a" * 2_000_000), "too large", prefix=prefix
        ),
        dead_letter(
            of(BROKEN, queue=queue, message_id="m-3", fault="no signature"), "no signature", prefix=prefix
        ),
        dead_letter(of(BROKEN, queue=f"{prefix}.other", message_id="m-4"), "no such field", prefix=prefix),
    ]
    publisher = broker.publisher()
    confirmed(publisher, copies)
    publisher.close()
    return [one.message_id for one in copies]


def of(delivery: Delivery, **fields: Any) -> Delivery:
    import msgspec

    return msgspec.structs.replace(delivery, **fields)


@pytest.fixture
def run(rabbit: RabbitServer, prefix: str) -> Any:
    def run(*words: str) -> Result:
        return CliRunner().invoke(dead, [*words, "--broker", rabbit.url, "--prefix", prefix])

    return run


def listed(run: Any, *words: str) -> list[dict[str, Any]]:
    ended = run("list", "--json", *words)
    assert ended.exit_code == 0, ended.output
    return [json.loads(line) for line in ended.output.splitlines()]


def taken(broker: Broker, queue: str, count: int) -> list[Delivery]:
    consumer: Consumer = broker.consumer([queue], prefetch=10)
    try:
        return received(consumer, count)
    finally:
        consumer.close()


def test_listing_tells_what_was_wrong_and_uses_nothing_up(run: Any, letters: list[str]) -> None:
    """Guard: what stays is a new copy; a broker that counts how often a message was handed out drops it in the end."""
    for _ in range(3):
        told = listed(run)
        assert sorted(one["id"] for one in told) == letters
    assert {one["id"]: one["reason"] for one in told}["m-3"] == "no signature"
    assert [one["truncated"] for one in sorted(told, key=lambda one: str(one["id"]))] == [
        False,
        True,
        False,
        False,
    ]
    assert "4 dead letters" in run("list").output


def test_a_letter_stays_a_fresh_message_however_often_it_is_listed(
    run: Any, broker: Broker, prefix: str, letters: list[str]
) -> None:
    for _ in range(3):
        listed(run)

    came = taken(broker, dead_letter_queue(prefix), len(letters))

    assert {one.delivery_count for one in came} <= {0, 1}


def test_filters_choose(run: Any, prefix: str, letters: list[str]) -> None:
    assert [one["id"] for one in listed(run, "--reason", "large")] == ["m-2"]
    assert [one["id"] for one in listed(run, "--queue", f"{prefix}.other")] == ["m-4"]
    assert [one["id"] for one in listed(run, "--id", "m-1")] == ["m-1"]


def test_a_letter_goes_back_as_it_was(run: Any, broker: Broker, prefix: str, letters: list[str]) -> None:
    ended = run("replay", "--id", "m-1")

    assert ended.output == "1 given back\n"
    (back,) = taken(broker, f"{prefix}.work", 1)
    assert (back.type, back.message_id, back.body) == ("amends.command", "m-1", b'{"sum":1}')
    assert (back.correlation_id, back.reply_to) == ("saga-1", "amends.coordinator")
    assert back.headers == {"traceparent": "00-a", "amends-row": "7"}
    assert [one["id"] for one in sorted(listed(run), key=lambda one: str(one["id"]))] == letters[1:]


def test_what_must_not_go_back_stays_and_says_why(run: Any, letters: list[str], prefix: str) -> None:
    ended = run("replay", "--queue", f"{prefix}.work")

    assert "left: m-2: only the beginning of its body was kept" in ended.output
    assert "left: m-3: no signature" in ended.output
    assert "1 given back" in ended.output
    trusted = run("replay", "--trust", "--id", "m-3", "--id", "m-4").output
    assert f"left: m-4: no queue '{prefix}.other' takes it" in trusted
    assert "1 given back" in trusted
    assert sorted(one["id"] for one in listed(run)) == ["m-2", "m-4"]


def test_dropped_letters_are_gone(run: Any, letters: list[str]) -> None:
    assert run("drop", "--reason", "no such field", "--yes").output == "2 dropped\n"
    assert sorted(one["id"] for one in listed(run)) == ["m-2", "m-3"]
    assert run("drop", "--all", "--yes").output == "2 dropped\n"
    assert listed(run) == []


@pytest.mark.parametrize("words", [("replay",), ("replay", "--all", "--id", "m-1"), ("drop", "--yes")])
def test_nothing_is_done_to_letters_that_were_not_chosen(
    run: Any, letters: list[str], words: tuple[str, ...]
) -> None:
    ended = run(*words)

    assert ended.exit_code == 2
    assert "say which: --all, or some of --id, --queue, --reason" in ended.output
    assert len(listed(run)) == 4


def test_who_is_interrupted_loses_no_letter(
    broker: Broker, prefix: str, letters: list[str], run: Any
) -> None:
    """Guard: letters are acknowledged after their copies are confirmed."""
    seen: list[Letter] = []

    def interrupted(letter: Letter) -> Any:
        seen.append(letter)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return "replay"

    with pytest.raises(KeyboardInterrupt):
        DeadLetterBox(broker, prefix).sort(interrupted, letters_max=10)

    assert sorted(one["id"] for one in listed(run)) == letters


class Reversing:
    """A codec that anybody sees through."""

    name = "reversing"
    decodes = frozenset({"reversing"})

    def encode(self, body: bytes) -> bytes:
        return body[::-1]

    def decode(self, name: str, body: bytes) -> bytes:
        return body[::-1]


@pytest.mark.parametrize("coded", [False, True])
def test_what_was_not_believed_stays_so_however_often_it_is_listed(
    rabbit: RabbitServer, prefix: str, coded: bool
) -> None:
    """Guard: the fault travels with the copy, which bears our signature; and its body is coded only once."""
    seal = Seal(keys=SigningKeys({"ours": b"o" * 32}), codec=Reversing() if coded else None)
    theirs = Seal(keys=SigningKeys({"theirs": b"t" * 32}), codec=Reversing() if coded else None)
    queue = f"{prefix}.work"
    sealed, stranger = open_broker(rabbit.url, seal=seal), open_broker(rabbit.url, seal=theirs)
    for one in (sealed, stranger):
        one.declare(Topology(queues=frozenset({dead_letter_queue(prefix), queue})))
    forged = dead_letter(of(BROKEN, queue=queue), "as the forger says", prefix=prefix)
    publisher = stranger.publisher()
    confirmed(publisher, [forged])
    publisher.close()
    box = DeadLetterBox(sealed, prefix)
    faults: list[str] = []

    def keep(letter: Letter) -> Any:
        faults.append(letter.fault)
        return "keep"

    for _ in range(3):
        assert box.sort(keep, letters_max=10).seen == 1
    assert faults == ["signed with a key that is not known here"] * 3

    box.sort(lambda _letter: "replay", letters_max=10)
    (back,) = taken(sealed, queue, 1)
    assert (back.fault, back.body) == ("", BROKEN.body)
    sealed.close()
    stranger.close()


def test_a_broker_in_memory_is_refused(prefix: str) -> None:
    ended = CliRunner().invoke(dead, ["list", "--broker", "memory://here"])

    assert "must name RabbitMQ" in str(ended.exception)
