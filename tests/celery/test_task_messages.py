"""A task's message is Celery's own; what cannot be sent that way is refused before anything is stored."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import amqp
import pytest
from celery import Celery, chain, chord, group, signals
from kombu import Connection
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from amends import outbox
from amends.outbox.celery import task_message
from amends.outbox.errors import InvalidHeader, UnsupportedTask
from amends.outbox.ports import Broker
from tests.outbox.relaying import relaying
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually


def _take(rabbit: RabbitServer, queue: str) -> amqp.Message:
    with Connection(rabbit.url) as connection:
        channel = connection.channel()
        taken: amqp.Message = eventually(lambda: channel.basic_get(queue, no_ack=True), 30, "a message")
        return taken


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "priority": 7,
            "headers": {"tenant": "a", "weights": [1, 2.5, None, True, 2**40]},
            "shadow": "other",
        },
        {"time_limit": 20, "soft_time_limit": 10.5, "ignore_result": True, "root_id": "r", "parent_id": "p"},
    ],
)
def test_it_is_the_message_that_celery_would_send(
    task_database: Engine,
    project: Any,
    rabbit: RabbitServer,
    broker: Broker,
    prefix: str,
    options: dict[str, Any],
) -> None:
    """Header for header and byte for byte, but for the properties that an outbox adds."""
    queue = f"{project.PREFIX}.compared"
    call = {
        "args": (1, "größe", datetime(2026, 1, 2, tzinfo=UTC)),
        "kwargs": {"cents": Decimal("1.10"), "of": UUID(int=7)},
        "task_id": "one",
        "queue": queue,
        "link": project.note.s("linked"),
        **options,
    }
    project.note.apply_async(**call)
    theirs = _take(rabbit, queue)
    with Session(task_database) as session, session.begin():
        outbox.apply_async(session, project.note, **call)
    with relaying(task_database, broker, prefix):
        ours = _take(rabbit, queue)

    assert ours.body == theirs.body
    assert ours.headers == theirs.headers
    added = {"message_id": "one", "type": "project.note", "timestamp": ours.properties["timestamp"]}
    expected = {name: value for name, value in theirs.properties.items() if name != "application_headers"}
    found = {name: value for name, value in ours.properties.items() if name != "application_headers"}
    # Without a priority Celery says 0, which is what RabbitMQ takes it for.
    assert {"priority": 0, **found} == {"priority": 0, **expected, **added}


def _app(**settings: Any) -> Celery:
    app = Celery(set_as_current=False, broker="pyamqp://nobody@localhost:1//")
    app.conf.update(settings)
    return app


def _task(app: Celery, **options: Any) -> Any:
    @app.task(name="t.add", shared=False, **options)
    def add(left: int, right: int = 0) -> int:
        return left + right

    return add


@pytest.mark.parametrize("serializer", ["pickle", "yaml", "msgpack"])
def test_nothing_but_json_is_sent(serializer: str) -> None:
    """Also where the app or the task asks for it."""
    for task, options in (
        (_task(_app()), {"serializer": serializer}),
        (_task(_app(), serializer=serializer), {}),
        (_task(_app(task_serializer=serializer)), {}),
    ):
        with pytest.raises(UnsupportedTask, match=f"{serializer}.*JSON alone"):
            task_message(task, (1,), **options)
    _, message = task_message(_task(_app(task_serializer=serializer)), (1,), serializer="json")
    assert message.content_type == "application/json"


def test_what_cannot_be_sent_is_refused_before_anything_is_stored(participant_database: Engine) -> None:
    add = _task(_app())
    with Session(participant_database) as session:
        for wrong, match in (
            (lambda: outbox.delay(session, add, object()), "not JSON"),
            (lambda: outbox.delay(session, chain(add.s(1), add.s(2))), "chain is no single task"),
            (lambda: outbox.delay(session, group(add.s(1), add.s(2))), "group is no single task"),
            (lambda: outbox.delay(session, chord([add.s(1)], add.s())), "chord is no single task"),
            (lambda: outbox.delay(session, "t.add", 1), "no Celery task"),
            (lambda: outbox.delay(session, print, 1), "no Celery task"),
            (lambda: outbox.delay(session, _task(_app(broker_url="redis://x/0")), 1), "broker is redis"),
        ):
            with pytest.raises(UnsupportedTask, match=match):
                wrong()
        with pytest.raises(TypeError, match="left"):
            outbox.delay(session, add)
        with pytest.raises(TypeError, match="retry: no such option"):
            outbox.apply_async(session, add, (1,), retry=True)
        with pytest.raises(InvalidHeader, match="priority"):
            outbox.apply_async(session, add, (1,), priority=256)
        with pytest.raises(InvalidHeader, match="not JSON"):
            outbox.apply_async(session, add, (1,), headers={"x": object()})
        assert session.execute(text("SELECT count(*) FROM amends_outbox")).scalar_one() == 0


def test_listeners_of_celerys_signal_may_add_headers() -> None:
    """Tracing does so: `before_task_publish` is sent when the task is put."""
    seen = []

    def stamp(sender: str, headers: dict[str, Any], routing_key: str, **_: Any) -> None:
        seen.append((sender, routing_key))
        headers["stamp"] = "x"

    signals.before_task_publish.connect(stamp)
    try:
        _, message = task_message(_task(_app(task_default_queue="work")), (1,))
    finally:
        signals.before_task_publish.disconnect(stamp)

    assert seen == [("t.add", "work")]
    assert message.headers["stamp"] == "x"


def test_the_task_s_own_options_count_and_those_of_the_call_count_more() -> None:
    add = _task(_app(task_routes={"t.*": {"queue": "slow"}}), time_limit=9, ignore_result=True)

    task_id, message = task_message(add, (1,), priority=4, task_id="given")

    assert (task_id, message.message_id, message.correlation_id) == ("given", "given", "given")
    assert (message.exchange, message.routing_key) == ("", "slow")
    assert message.mandatory
    assert message.headers["amends-priority"] == 4
    assert message.headers["timelimit"] == [9, None]
    assert message.headers["ignore_result"] is True


def test_the_sdk_needs_no_celery() -> None:
    """Of all modules only what makes a task's message asks for it, when it makes one."""
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "celery":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
import amends.outbox, amends.participants, amends.outbox.celery
from amends.outbox import delay, put, adelay, apply_async, aapply_async
assert not [name for name in sys.modules if name.partition(".")[0] == "celery"]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
