"""Signed and coded messages: what fits is believed, whatever was changed on the way is put aside; keys rotate."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from amends.db.config import Environment
from amends.db.errors import InvalidSetting
from amends.outbox.broker import open_broker
from amends.outbox.config import seal_settings
from amends.outbox.errors import BrokerUnavailable, InvalidSigningKeys
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Delivery, Fate, Outgoing, Topology
from amends.outbox.sealing import CodecUnavailable, Seal, SigningKeys
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

OLD, NEW = b"o" * 32, b"n" * 32
KEYS = SigningKeys({"new": NEW, "old": OLD})
SETTING = f"new={b64encode(NEW).decode()},old={b64encode(OLD).decode()}"


class Reversing:
    """A codec that anybody sees through; it can be away, or find a body it cannot code."""

    name = "reversing"
    decodes = frozenset({"reversing"})

    def __init__(self) -> None:
        self.away = False

    def encode(self, body: bytes) -> bytes:
        if self.away:
            raise CodecUnavailable("the key server is away")
        if b"uncodable" in body:
            raise ValueError("secret text")
        return body[::-1]

    def decode(self, name: str, body: bytes) -> bytes:
        assert name == self.name
        if self.away:
            raise CodecUnavailable("the key server is away")
        if body == b"x":
            raise ValueError("secret text")
        return body[::-1]


@pytest.fixture(params=["rabbitmq", "memory"])
def url(request: pytest.FixtureRequest, rabbit: RabbitServer, prefix: str) -> str:
    return rabbit.url if request.param == "rabbitmq" else f"memory://{prefix}"


@pytest.fixture
def queue(prefix: str) -> str:
    return f"{prefix}.sealed"


def opened_broker(url: str, queue: str, seal: Seal | None = None) -> Broker:
    """A broker that declares the queue when it connects."""
    broker = open_broker(url, seal=seal)
    broker.declare(Topology(queues=frozenset({queue})))
    return broker


def a_message(queue: str, body: bytes = b'{"sum":1}', **fields: Any) -> Message:
    return Message(
        routing_key=queue,
        type="amends.command",
        body=body,
        correlation_id="saga",
        reply_to="amends.coordinator",
        headers={"traceparent": "00-a", "amends-row": "7"},
        **fields,
    )


def sent(broker: Broker, *messages: Message) -> list[Fate]:
    publisher = broker.publisher()
    try:
        publisher.publish([Outgoing(number, one) for number, one in enumerate(messages)])
        fates: list[Fate] = []
        if broker.confirms_when_consumed:
            return fates
        while publisher.pending:
            fates += [one.fate for one in publisher.settled(1.0)]
        return fates
    finally:
        if not broker.confirms_when_consumed:
            publisher.close()


def received(broker: Broker, queue: str) -> Delivery:
    consumer = broker.consumer([queue], prefetch=10)
    try:
        deliveries = eventually(lambda: consumer.receive(1.0), what="the message")
        consumer.ack([one.tag for one in deliveries])
        consumer.receive(0.0)
        (delivery,) = deliveries
        return delivery
    finally:
        consumer.close()


def test_a_sealed_message_arrives_as_it_was_sent(url: str, queue: str) -> None:
    broker = opened_broker(url, queue, Seal(keys=KEYS, codec=Reversing()))

    sent(broker, message := a_message(queue))
    delivery = received(broker, queue)

    assert delivery.fault == ""
    assert delivery.body == message.body
    assert delivery.headers == message.headers
    assert delivery.content_encoding == ""


def test_on_the_wire_the_body_is_coded_and_the_signature_is_there(url: str, queue: str) -> None:
    sent(opened_broker(url, queue, Seal(keys=KEYS, codec=Reversing())), a_message(queue, b'{"a":1}'))

    delivery = received(opened_broker(url, queue), queue)

    assert delivery.body == b'}1:"a"{'
    assert delivery.headers["amends-codec"] == "reversing"
    assert str(delivery.headers["amends-signature"]).startswith("new:")
    assert delivery.headers["amends-signed-to"] == queue


@pytest.mark.parametrize(
    "forged",
    [
        {"body": b'{"sum":2}'},
        {"type": "amends.start"},
        {"message_id": "another"},
        {"correlation_id": "another"},
        {"reply_to": "the.forgers.queue"},
        {"headers": {"amends-row": "8"}},
        {"headers": {"amends-receipt-to": "the.forgers.queue"}},
        {"headers": {"amends-signed-to": "another"}},
        {"headers": {"amends-signature": "new:AAAA"}},
        {"headers": {"amends-signature": "unknown:AAAA"}},
        {"headers": {"amends-signature": "new:%%%"}},
        {"content_type": "text/plain"},
        {"content_encoding": "utf-8"},
    ],
    ids=lambda change: next(iter(change.items())).__repr__()[:50],
)
def test_whatever_is_changed_on_the_way_is_refused(forged: dict[str, Any]) -> None:
    """Guard: each of the fields that `signed_content` takes."""
    seal = Seal(keys=KEYS)
    delivery = delivered(seal.closed(a_message("q")))
    assert seal.opened(delivery).fault == ""
    if "headers" in forged:
        forged = {"headers": {**delivery.headers, **forged["headers"]}}

    opened = seal.opened(msgspec.structs.replace(delivery, **forged))

    assert opened.fault
    assert opened.content_encoding == "x-amends-unsealed"


def test_a_signed_message_in_another_queue_is_refused() -> None:
    seal = Seal(keys=KEYS)
    delivery = delivered(seal.closed(a_message("q")))

    assert seal.opened(msgspec.structs.replace(delivery, queue="p")).fault == "signed for another queue"


def test_an_event_may_arrive_in_any_queue() -> None:
    seal = Seal(keys=KEYS)
    delivery = delivered(seal.closed(a_message("user.created", exchange="amends.events")))

    assert seal.opened(msgspec.structs.replace(delivery, queue="anybodys")).fault == ""


def test_traces_may_be_changed_on_the_way() -> None:
    seal = Seal(keys=KEYS)
    delivery = delivered(seal.closed(a_message("q")))

    changed = msgspec.structs.replace(delivery, headers={**delivery.headers, "traceparent": "00-b"})

    assert seal.opened(changed).fault == ""


def test_an_unsigned_message_is_refused_unless_it_may_come() -> None:
    delivery = delivered(a_message("q"))

    assert Seal(keys=KEYS).opened(delivery).fault == "no signature"
    assert Seal(keys=KEYS, accept_unsigned=True).opened(delivery).fault == ""
    forged = msgspec.structs.replace(delivery, headers={"amends-signature": "new:AAAA"})
    assert Seal(keys=KEYS, accept_unsigned=True).opened(forged).fault


def test_keys_rotate_without_a_gap() -> None:
    """The new key is made known, then it signs, then the old one goes: each step meets messages of the one before."""
    old = SigningKeys({"old": OLD})
    known = SigningKeys({"old": OLD, "new": NEW})
    signs = SigningKeys({"new": NEW, "old": OLD})
    gone = SigningKeys({"new": NEW})
    for sender, receiver in (
        (old, known),
        (known, old),
        (known, signs),
        (signs, known),
        (signs, gone),
        (gone, signs),
    ):
        delivery = delivered(Seal(keys=sender).closed(a_message("q")))
        assert Seal(keys=receiver).opened(delivery).fault == ""
    late = delivered(Seal(keys=old).closed(a_message("q")))
    assert Seal(keys=gone).opened(late).fault == "signed with a key that is not known here"


def test_a_body_that_the_codec_cannot_code_is_its_own_fault(url: str, queue: str) -> None:
    broker = opened_broker(url, queue, Seal(codec=Reversing()))
    publisher = broker.publisher()

    publisher.publish([Outgoing(1, a_message(queue, b"uncodable")), Outgoing(2, a_message(queue))])

    (settled,) = publisher.settled(1.0)[:1]
    assert (settled.token, settled.fate) == (1, Fate.TOO_LARGE)
    assert settled.reason == "the codec 'reversing' cannot code it (ValueError)"
    assert received(broker, queue).body == b'{"sum":1}'
    publisher.close()


def test_a_body_that_the_codec_cannot_read_is_refused_and_tells_nothing() -> None:
    delivery = msgspec.structs.replace(delivered(a_message("q", b"x")), headers={"amends-codec": "reversing"})

    assert Seal(codec=Reversing()).opened(delivery).fault == "its codec cannot read it (ValueError)"
    assert Seal(keys=None).opened(delivery).fault == "coded by 'reversing', which is not known here"


def test_while_the_codec_is_away_nothing_is_published_and_nothing_is_lost(url: str, queue: str) -> None:
    codec = Reversing()
    broker = opened_broker(url, queue, Seal(codec=codec))
    sent(broker, a_message(queue))
    codec.away = True
    publisher, consumer = broker.publisher(), broker.consumer([queue], prefetch=10)

    with pytest.raises(BrokerUnavailable, match="the codec of message bodies is away"):
        publisher.publish([Outgoing(1, a_message(queue))])
    for _ in range(3):
        assert consumer.receive(0.3) == []
    codec.away = False
    (delivery,) = eventually(lambda: consumer.receive(0.3), what="the message that waited")

    assert delivery.body == b'{"sum":1}'
    consumer.ack([delivery.tag])
    consumer.close()
    publisher.close()


def test_tasks_of_others_are_signed_but_not_coded() -> None:
    """A Celery worker knows of no codec."""
    message = replace(a_message("celery"), type="celery.task")

    closed = Seal(keys=KEYS, codec=Reversing()).closed(message)

    assert closed.body == message.body
    assert "amends-signature" in closed.headers


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, "there is no key"),
        ({"a b": NEW}, "a key's id has 1 to 40 letters"),
        ({"short": b"short"}, "key 'short' has 5 bytes; it needs at least 16"),
    ],
)
def test_keys_that_protect_nothing_are_refused(keys: dict[str, bytes], told: str) -> None:
    with pytest.raises(InvalidSigningKeys, match=told):
        SigningKeys(keys)


def test_settings_make_a_seal_and_never_repeat_a_key(tmp_path: Any) -> None:
    secret = tmp_path / "keys"
    secret.write_text(SETTING)

    seal = seal_settings(Environment({"AMENDS_SIGNING_KEYS_FILE": str(secret), "AMENDS_UNSIGNED": "accept"}))

    assert seal is not None
    assert seal.accept_unsigned
    assert repr(seal.keys) == "SigningKeys(new, old)"
    assert "bm5u" not in repr(seal)
    assert seal_settings(Environment({})) is None


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"AMENDS_SIGNING_KEYS": "secret"}, "AMENDS_SIGNING_KEYS must be ID=BASE64.*entry 1 is not"),
        ({"AMENDS_SIGNING_KEYS": "a=%%secret"}, "AMENDS_SIGNING_KEYS must be ID=BASE64.*entry 1 is not"),
        ({"AMENDS_SIGNING_KEYS": SETTING, "AMENDS_UNSIGNED": "maybe"}, "AMENDS_UNSIGNED must be one of"),
        ({"AMENDS_CODEC": "no.such:codec"}, "AMENDS_CODEC cannot be loaded: No module named 'no'"),
        ({"AMENDS_CODEC": "json:dumps"}, "AMENDS_CODEC must be module:object of a codec"),
        ({"AMENDS_CODEC": "json"}, "AMENDS_CODEC must be module:object of a codec"),
    ],
)
def test_bad_settings_say_which_and_keep_the_secret(variables: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidSetting, match=told) as caught:
        seal_settings(Environment(variables))
    assert "secret" not in str(caught.value)


def delivered(message: Message) -> Delivery:
    """The message as a consumer sees it."""
    return Delivery(
        tag=1,
        queue=message.routing_key,
        body=message.body,
        type=message.type,
        message_id=message.message_id,
        correlation_id=message.correlation_id or "",
        reply_to=message.reply_to or "",
        content_type=message.content_type,
        headers=json.loads(json.dumps(dict(message.headers))),
        size_bytes=len(message.body),
    )
