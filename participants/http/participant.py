"""A declaration becomes a participant: external handlers that post what they are told (B5)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from amends.participants.context import Ctx
from amends.participants.http.declaration import Declaration, HttpCommand, HttpUndo, declared, undo_of
from amends.participants.http.errors import InvalidDeclaration
from amends.participants.http.meaning import result_of
from amends.participants.http.posting import Answered, Poster
from amends.participants.http.signing import header_in, secret_in, signature
from amends.participants.participant import Participant

_PLAIN: Final = "/-_.~:@!$&'()*+,;= "


class _Undo(msgspec.Struct, frozen=True):
    """The body of an undo: what the `do` was given, what it answered, and whether it is known to have happened."""

    args: msgspec.Raw
    result: msgspec.Raw | None
    certain: bool


def http_participant(
    name: str, *, base: str, commands: Mapping[str, str | HttpCommand | Mapping[str, Any]], **options: Any
) -> Participant:
    """A participant whose commands are posted to a service; run it as any other.

    `commands` say where each is posted, below `base`: `{"charge": HttpCommand("charges", undo={"refund": "refunds"})}`,
    or only `{"score": "scores"}`. `options` are those of `Declaration`: `timeout_s=10.0`, `key_files=[...]`,
    `header_files={...}`, `hosts=[...]`, `networks=["10.0.0.0/8"]` and more.

    Raises: InvalidDeclaration, saying what is wrong where; InvalidHandler for a name that cannot be a command's.
    """
    plain = {
        command: msgspec.to_builtins(told, str_keys=True) if isinstance(told, HttpCommand) else told
        for command, told in commands.items()
    }
    return _made(declared({"name": name, "base": base, "commands": plain, **options}))


def participant_from_file(path: str | Path) -> Participant:
    """The participant that a TOML file declares; `amends participant legacy.toml` runs it.

    Raises: InvalidDeclaration, InvalidHandler.
    """
    try:
        content = msgspec.toml.decode(Path(path).read_bytes())
    except OSError as error:
        raise InvalidDeclaration(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidDeclaration(f"{path} is no TOML: {error}") from error
    return _made(declared(content))


def _made(declaration: Declaration) -> Participant:
    try:
        service = _Service(declaration)
    except OSError as error:  # An ssl.SSLError is one, too.
        raise InvalidDeclaration(
            f"http participant {declaration.name!r}: ca_file {declaration.ca_file}: {error}"
        ) from error
    participant = Participant(declaration.name)
    for name, command in declaration.each():
        handler = participant.command(external=True, name=name)(service.doing(command))
        for undo, post in command.undo.items():
            handler.undo(name=undo)(service.undoing(command, undo_of(post)))
    return participant


class _Service:
    """Makes the handlers of one declaration."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration
        self._poster = Poster(declaration)

    def doing(self, command: HttpCommand) -> Any:
        """A handler that posts the command's args as they are."""
        url = self._declaration.url(command.post)

        def do(args: msgspec.Raw, ctx: Ctx) -> msgspec.Raw:
            answered = self._post(url, ctx, bytes(args), command.timeout_s)
            return result_of(answered, urlsplit(url).netloc, command.statuses, command.result)

        return do

    def undoing(self, command: HttpCommand, undo: HttpUndo) -> Any:
        """A handler that posts what is to be undone, and names the key under which it was done."""
        url = self._declaration.url(undo.post)

        def take_back(args: msgspec.Raw, result: msgspec.Raw, ctx: Ctx) -> None:
            body = msgspec.json.encode(_Undo(args, result, ctx.certain))
            answered = self._post(
                url, ctx, body, command.timeout_s, ("Amends-Undoes", in_header(ctx.do_idempotency_key))
            )
            result_of(answered, urlsplit(url).netloc, undo.statuses, "none")

        return take_back

    def _post(
        self, url: str, ctx: Ctx, body: bytes, timeout_s: float | None, *more: tuple[str, str]
    ) -> Answered:
        declaration = self._declaration
        key = in_header(ctx.idempotency_key)
        headers = [
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
            ("User-Agent", f"amends ({declaration.name})"),
            *declaration.headers.items(),
            *((name, header_in(file)) for name, file in declaration.header_files.items()),
            ("Content-Length", str(len(body))),
            ("Idempotency-Key", key),
            ("Amends-Saga", ctx.saga),
            ("Amends-Path", in_header(ctx.path)),
            ("Amends-Attempt", str(ctx.attempt)),
            *more,
        ]
        if ctx.traceparent:
            headers.append(("traceparent", in_header(ctx.traceparent)))
        if declaration.key_files:
            keys = [secret_in(file) for file in declaration.key_files]
            parts = urlsplit(url)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            signed = signature(keys, at=int(time.time()), target=target, idempotency_key=key, body=body)
            headers.append(("Amends-Signature", signed))
        return self._poster.post(
            url, headers, body, timeout_s=declaration.timeout_s if timeout_s is None else timeout_s
        )


def in_header(text: str) -> str:
    """The text, if a header may hold it as it is; otherwise with percent escapes."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=_PLAIN)
