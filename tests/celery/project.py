"""A Celery app as services have them, for the tests' own process and for `celery -A tests.celery.project worker`.

Its tasks know nothing of amends. They tell what they did in the table `told` of the database.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Any

import psycopg
from celery import VERSION, Celery
from kombu import Exchange, Queue

PREFIX = os.environ.get("AMENDS_TEST_CELERY_PREFIX", "unset")
DATABASE = os.environ.get("AMENDS_TEST_CELERY_DATABASE", "")

app = Celery("project", broker=os.environ.get("AMENDS_TEST_CELERY_BROKER", "pyamqp://nobody@localhost:1//"))
# A worker of an older Celery cannot consume from quorum queues: it sets its prefetch for the whole connection.
QUORUM = {"x-queue-type": "quorum"} if VERSION >= (5, 5) else {}
_exchange = Exchange(f"{PREFIX}.topics", type="topic")
app.conf.update(
    task_default_queue=f"{PREFIX}.classic",
    task_queues=[
        Queue(f"{PREFIX}.classic"),
        Queue(f"{PREFIX}.quorum", queue_arguments=QUORUM),
        Queue(f"{PREFIX}.topic", _exchange, routing_key=f"{PREFIX}.reports.#"),
        Queue(f"{PREFIX}.compared"),
        Queue(f"{PREFIX}.late"),
        Queue(f"{PREFIX}.late-topic", _exchange, routing_key=f"{PREFIX}.late.#"),
    ],
    task_routes={
        "project.routed": {"queue": f"{PREFIX}.quorum"},
        "project.by_topic": {"queue": f"{PREFIX}.topic", "routing_key": f"{PREFIX}.reports.daily"},
    },
    broker_connection_retry_on_startup=True,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
)

TABLE = "CREATE TABLE told (id bigserial PRIMARY KEY, task_id text, what text NOT NULL, told jsonb NOT NULL)"


def tell(what: str, task_id: str, told: object) -> None:
    """Write down what a task did."""
    with psycopg.connect(DATABASE) as connection:
        connection.execute(
            "INSERT INTO told (task_id, what, told) VALUES (%s, %s, %s)", (task_id, what, json.dumps(told))
        )


@app.task(bind=True, name="project.note")
def note(self: Any, *args: Any, **kwargs: Any) -> str:
    """Tell how it was called."""
    request = self.request
    told = {
        "args": list(args),
        "kwargs": kwargs,
        "queue": request.delivery_info["routing_key"],
        "headers": dict(request.headers or {}),
        "priority": request.delivery_info.get("priority"),
        "root": request.root_id,
        "parent": request.parent_id,
    }
    tell("note", request.id, told)
    return "noted"


@app.task(bind=True, name="project.routed")
def routed(self: Any, word: str) -> None:
    """Tell from which queue it came: by `task_routes` the quorum queue."""
    tell("routed", self.request.id, {"queue": self.request.delivery_info["routing_key"], "word": word})


@app.task(bind=True, name="project.by_topic")
def by_topic(self: Any, word: str) -> None:
    """Tell by which key it came: through a topic exchange."""
    tell("by_topic", self.request.id, {"key": self.request.delivery_info["routing_key"], "word": word})


@app.task(bind=True, name="project.dated")
def dated(self: Any, moment: datetime) -> None:
    """Tell what became of a datetime on its way."""
    tell("dated", self.request.id, {"type": type(moment).__name__, "moment": moment.isoformat()})


@app.task(bind=True, name="project.flaky", max_retries=3)
def flaky(self: Any) -> None:
    """Fail twice, and be retried by Celery itself."""
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    tell("flaky", self.request.id, {"retries": self.request.retries})


@app.task(bind=True, name="project.outer")
def outer(self: Any) -> None:
    """Call another task, in a transaction of its own."""
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    from amends import outbox

    engine = create_engine(DATABASE.replace("postgresql://", "postgresql+psycopg://", 1))
    with Session(engine) as session, session.begin():
        inner = outbox.delay(session, note, "inner")
    engine.dispose()
    tell("outer", self.request.id, {"inner": inner})
