"""One HTTP request and its answer on asyncio's own streams: no thread waits for it, and cancelling it ends it."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Mapping
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from socket import socket

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_READ_BYTES: Final = 65_536


async def exchange(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> tuple[int, bytes]:
    """Send a request; gives the answer's status and body. No redirect is followed and no proxy asked.

    Raises: OSError if the other side cannot be reached; HTTPException for an answer that is none, or breaks off.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    tls = _tls() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(host, parts.port or (443 if tls else 80), ssl=tls)
    try:
        writer.write(_request(method, url, headers, body))
        await writer.drain()
        return _answer(method, await _read(reader))
    finally:
        # Not awaited: a farewell that hangs must not hold what has been answered, nor a cancellation.
        writer.close()


def _request(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    sent = {"Host": parts.netloc.rpartition("@")[2], "Connection": "close", **headers}
    if body is not None:
        sent["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a request's line or header")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


async def _read(reader: asyncio.StreamReader) -> bytes:
    """All of it: the other side closes after its answer, as we asked it to."""
    answer = bytearray()
    while chunk := await reader.read(_READ_BYTES):
        answer += chunk
        if len(answer) > ANSWER_BYTES_MAX:
            raise HTTPException(f"an answer of more than {ANSWER_BYTES_MAX:,} bytes")
    return bytes(answer)


def _answer(method: str, answer: bytes) -> tuple[int, bytes]:
    response = HTTPResponse(cast("socket", _Read(answer)), method=method)
    response.begin()
    return response.status, response.read()


class _Read:
    """What was read, as the standard library's parser wants it."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._answer)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
