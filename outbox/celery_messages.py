"""A call of a Celery task as a message: what Celery's own producer would publish, in its message protocol 2.

Needs no broker and no result backend: nothing here connects. Celery is asked for the message (`app.amqp.as_task_v2`)
and for its destination (`task_routes`, the task's own options), so what an app configures counts here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from amends.outbox.drivers.amqp_celery import task_body
from amends.outbox.errors import UnsupportedTask
from amends.outbox.message import (
    HEADER_CONTENT_ENCODING,
    HEADER_CONTENT_TYPE,
    HEADER_MANDATORY,
    HEADER_PRIORITY,
    HeaderValue,
    Message,
)

# What a task's own definition may say of each of its calls.
_OF_THE_TASK: Final = (
    "queue", "exchange", "routing_key", "priority", "expires", "serializer", "time_limit", "soft_time_limit",
    "ignore_result",
)  # fmt: skip
_OPTIONS: Final = frozenset(
    {
        *_OF_THE_TASK,
        "countdown",
        "eta",
        "task_id",
        "headers",
        "link",
        "link_error",
        "shadow",
        "root_id",
        "parent_id",
    }
)
# Brokers of Celery's that an outbox does not publish to. In-process ones are for tests, where nothing is sent.
_SENT_OVER: Final = frozenset({"", "amqp", "amqps", "pyamqp", "librabbitmq", "memory"})


def task_message(
    task: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
) -> tuple[str, Message]:
    """The id of a call and its message, to be `put`.

    `task` is a Celery task, or the signature of one (`task.s(1).set(queue="slow")`). `options` are those of Celery's
    `apply_async`: countdown, eta, expires, task_id, queue, exchange, routing_key, priority, headers, link, link_error,
    time_limit, soft_time_limit, shadow, ignore_result, serializer (json), root_id, parent_id.

    With `countdown` or `eta` the outbox holds the message until then, and no worker does.
    Raises: UnsupportedTask for another serializer than JSON, another broker than RabbitMQ, for a canvas, and for
    arguments that are not JSON; TypeError for an unknown option, and for arguments that the task does not take.
    """
    call = _Call(task, args, kwargs or {}, options)
    call.require_json()
    return call.message()


def require_options(options: Mapping[str, Any]) -> None:
    """Raises: TypeError for options that a call through an outbox does not have, naming them."""
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise TypeError(
            f"{', '.join(unknown)}: no such option of a task in an outbox; known: {', '.join(sorted(_OPTIONS))}"
        )


class _Call:
    """One call of a task: the task's options, overridden by the signature's, overridden by the caller's."""

    def __init__(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        if isinstance(task, type) or not (hasattr(task, "apply_async") and hasattr(task, "app")):
            raise UnsupportedTask(f"{task!r:.200} is no Celery task and no signature of one")
        self.app: Any = task.app
        self.args, self.kwargs = tuple(args), dict(kwargs)
        chosen = dict(options)
        if isinstance(task, dict):  # A signature is one.
            if task.get("subtask_type") is not None:
                raise UnsupportedTask(
                    f"a {task['subtask_type']} is no single task: what Celery does for it cannot be tied to a "
                    f"transaction; put its first task, or make it a saga"
                )
            self.name = str(task["task"])
            if not task.get("immutable"):
                self.args += tuple(task["args"])
                self.kwargs = {**task["kwargs"], **self.kwargs}
            else:
                self.args, self.kwargs = tuple(task["args"]), dict(task["kwargs"])
            chosen = {**task["options"], **chosen}
            task = self.app.tasks.get(self.name)
        else:
            self.name = str(task.name)
        self.task = task
        require_options(chosen)
        own = {name: getattr(task, name, None) for name in _OF_THE_TASK}
        self.options = {**{name: value for name, value in own.items() if value is not None}, **chosen}
        if task is not None and getattr(task, "typing", False):
            task.__header__(*self.args, **self.kwargs)

    def require_json(self) -> None:
        """Raises: UnsupportedTask if the app would not send this over RabbitMQ, in JSON."""
        conf = self.app.conf
        serializer = self.options.pop("serializer", None) or conf.task_serializer
        if serializer != "json":
            raise UnsupportedTask(
                f"{self.name}: its serializer is {serializer!r}; an outbox sends JSON alone: "
                f"set serializer='json' on the task or with the call"
            )
        urls = conf.broker_write_url or conf.broker_url or ""
        first = str(urls[0] if isinstance(urls, list | tuple) else urls)
        scheme = first.partition("://")[0].partition("+")[0] if "://" in first else first
        if scheme not in _SENT_OVER:
            raise UnsupportedTask(
                f"{self.name}: its app's broker is {scheme}; an outbox publishes to RabbitMQ, from which the app's "
                f"workers must consume"
            )

    def message(self) -> tuple[str, Message]:
        """Ask Celery for the message, and tell its `before_task_publish` listeners."""
        from celery import signals

        app, options = self.app, dict(self.options)
        task_id = str(options.pop("task_id", None) or uuid4())
        delay_s = self._delay_s(options.pop("countdown", None), options.pop("eta", None))
        expires = self._expires(options.pop("expires", None))
        parent = app.current_worker_task
        root_id, parent_id = options.pop("root_id", None), options.pop("parent_id", None)
        if parent is not None:
            root_id = root_id or parent.request.root_id or parent.request.id
            parent_id = parent_id or parent.request.id
        own_headers, priority = options.pop("headers", None), options.pop("priority", None)
        made = app.amqp.as_task_v2(
            task_id,
            self.name,
            self.args,
            self.kwargs,
            expires=expires,
            callbacks=_listed(options.pop("link", None)),
            errbacks=_listed(options.pop("link_error", None)),
            reply_to=app.thread_oid,
            time_limit=options.pop("time_limit", None),
            soft_time_limit=options.pop("soft_time_limit", None),
            root_id=root_id,
            parent_id=parent_id,
            shadow=options.pop("shadow", None) or self._shadow(),
            ignore_result=options.pop("ignore_result", False),
        )
        headers: dict[str, Any] = {**made.headers, **(own_headers or {})}
        properties: dict[str, Any] = dict(made.properties)
        if priority is not None:
            properties["priority"] = priority
        exchange, routing_key = self._destination(options)
        signals.before_task_publish.send(
            sender=self.name, body=made.body, exchange=exchange, routing_key=routing_key, declare=[],
            headers=headers, properties=properties, retry_policy={},
        )  # fmt: skip
        try:
            body, content_type, content_encoding = task_body(made.body)
        except ValueError as error:
            raise UnsupportedTask(f"{self.name}: its arguments are not JSON: {error}") from error
        beside: dict[str, HeaderValue] = {
            HEADER_CONTENT_TYPE: content_type,
            HEADER_CONTENT_ENCODING: content_encoding,
            HEADER_MANDATORY: True,
        }
        if properties.get("priority") is not None:
            beside[HEADER_PRIORITY] = properties["priority"]
        return task_id, Message(
            exchange=exchange,
            routing_key=routing_key,
            type=self.name,
            body=body,
            message_id=task_id,
            correlation_id=properties.get("correlation_id"),
            reply_to=properties.get("reply_to") or None,
            headers={**{name: _plain(value) for name, value in headers.items()}, **beside},
            expiration_ms=None if expires is None else self._expiration_ms(expires, delay_s),
            delay_s=delay_s,
        )

    def _destination(self, options: dict[str, Any]) -> tuple[str, str]:
        """Exchange and routing key, as `task_routes` and the app's queues have it."""
        app = self.app
        chosen = {name: options[name] for name in ("queue", "exchange", "routing_key") if options.get(name)}
        route = app.amqp.router.route(dict(chosen), self.name, self.args, self.kwargs, self.task)
        queue, exchange, routing_key = route.get("queue"), route.get("exchange"), route.get("routing_key")
        if queue is None and exchange is None:
            queue = app.amqp.default_queue
        elif isinstance(queue, str):
            queue = app.amqp.queues[queue]
        exchange = getattr(exchange, "name", exchange)
        kind = (
            route.get("exchange_type") or getattr(getattr(queue, "exchange", None), "type", None) or "direct"
        )
        if kind == "direct" and queue is not None and not (exchange and routing_key):
            return "", str(queue.name)
        if exchange is None:
            exchange = queue.exchange.name
        routing_key = routing_key or getattr(queue, "routing_key", None) or app.conf.task_default_routing_key
        return str(exchange), str(routing_key)

    def _delay_s(self, countdown: float | None, eta: datetime | None) -> float:
        if countdown is not None:
            return max(0.0, float(countdown))
        return 0.0 if eta is None else max(0.0, (self._aware(eta) - self.app.now()).total_seconds())

    def _expires(self, expires: float | datetime | None) -> datetime | None:
        if expires is None or isinstance(expires, datetime):
            return None if expires is None else self._aware(expires)
        now: datetime = self.app.now()
        return self._aware(now + timedelta(seconds=float(expires)))

    def _expiration_ms(self, expires: datetime, delay_s: float) -> int:
        """From when it is published, at the earliest: the worker looks at the header in any case."""
        left_s: float = (expires - self.app.now()).total_seconds() - delay_s
        return max(0, round(left_s * 1000))

    def _aware(self, moment: datetime) -> datetime:
        from celery.utils.time import maybe_make_aware

        aware: datetime = maybe_make_aware(moment, tz=self.app.timezone)
        return aware

    def _shadow(self) -> str | None:
        if self.task is None:
            return None
        shadow: str | None = self.task.shadow_name(self.args, self.kwargs, self.options)
        return shadow


def _listed(link: Any) -> list[Any] | None:
    if link is None:
        return None
    return list(link) if isinstance(link, list | tuple) else [link]


def _plain(value: Any) -> HeaderValue:
    """Celery's own values are JSON, but for tuples and strings of its own kinds."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, str):
        return str(value)
    plain: HeaderValue = value
    return plain
