"""What a request may carry: over a limit the answer is a 4xx that names the place, and nothing is built from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from amends.coordinator.http.limits import LimitBody, Limits

SMALL = Limits(body_bytes_max=1_000, body_seconds_max=0.2, depth_max=4, values_max=20)


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"got": await request.json()})


def app() -> LimitBody:
    return LimitBody(Starlette(routes=[Route("/", echo, methods=["POST"])]), SMALL)


def post(content: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app())
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            wanted = {"Content-Type": "application/json"} if headers is None else headers
            return await client.post("/", content=content, headers=wanted)

    return asyncio.run(ask())


def test_a_body_within_the_limits_is_handed_on_whole() -> None:
    body = {"a": [1, 2, {"b": "ü"}]}

    answer = post(json.dumps(body))

    assert answer.json() == {"got": body}


def test_a_body_over_the_size_is_refused_by_its_announced_length() -> None:
    answer = post(b" " * 1_001)

    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (413, "too_large", "body")


def test_a_body_that_hides_its_length_is_refused_as_it_arrives() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    answer = post(chunks())

    assert answer.status_code == 413


def test_a_body_that_drips_is_not_waited_for() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async def ask() -> list[dict[str, Any]]:
        # A client that never ends its body: no transport of a test client can stand for it, so this speaks ASGI.
        sent: list[dict[str, Any]] = []
        body = chunks()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": await anext(body), "more_body": True}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        headers = [(b"content-type", b"application/json")]
        await app()({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)
        return sent

    assert asyncio.run(ask())[0]["status"] == 408


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"a": {"b": [{"c": [1]}]}}, "a.b[0].c"),
        ([[[[[]]]]], "[0][0][0][0]"),
    ],
)
def test_too_deep_names_the_place(body: object, field: str) -> None:
    answer = post(json.dumps(body))

    assert (answer.status_code, answer.json()["error"]) == (422, "too_deep")
    assert answer.json()["field"] == field


def test_a_depth_that_breaks_parsers_is_an_answer_too() -> None:
    answer = post("[" * 900)
    deep = asyncio.run(_post_with(Limits(), "[" * 100_000))

    assert answer.status_code in (400, 422)
    assert (deep.status_code, deep.json()["error"]) == (422, "too_deep")


def test_too_many_values_name_the_place() -> None:
    answer = post(json.dumps({"lines": list(range(30))}))

    assert (answer.status_code, answer.json()["error"]) == (422, "too_many_values")
    assert answer.json()["field"] == "lines"


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a": 1e999}', '"\\ud800"', b'"\xff"', "{'a': 1}"])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    answer = post(text)

    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (
        400,
        "malformed_json",
        "body",
    )


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_web_page_can_send_unasked_is_refused(content_type: str) -> None:
    answer = post("{}", headers={"Content-Type": content_type})

    assert (answer.status_code, answer.json()["error"]) == (415, "not_json")


async def _post_with(limits: Limits, content: str) -> httpx.Response:
    whole = LimitBody(Starlette(routes=[Route("/", echo, methods=["POST"])]), limits)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=whole), base_url="http://door") as client:
        return await client.post("/", content=content, headers={"Content-Type": "application/json"})
