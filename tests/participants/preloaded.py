"""A shop as WSGI application whose client is made when the module is loaded: before gunicorn forks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from sqlalchemy import Engine

from amends.db.engines import open_engine, transaction
from amends.participants import CircuitBreaker, Client, Participant

client = Client(service="shop")
participant = Participant("shop")
breaker = CircuitBreaker("bank")


@cache
def database() -> Engine:
    """The worker's own engine, made at its first request."""
    return open_engine(os.environ["SHOP_DATABASE_URL"])


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Start a saga for every request; answers with the worker's process id and the saga's id."""
    with breaker, transaction(database()) as connection:
        saga = client.start(connection, "place-order", {}, key=environ["PATH_INFO"].strip("/"))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {saga}".encode()]
