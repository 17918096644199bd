"""Who may come in by HTTP: tokens with a name, a role and a secret.

Roles are ordered: each may do all that the ones before it may.

    read      look at sagas, timelines, definitions, the outbox
    start     ... and start sagas                            (a service)
    apply     ... and register definitions, add schedules    (a deployment)
    operate   ... and retry, skip, compensate, pause         (an operator)
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

from amends.db.errors import InvalidSetting

VARIABLE: Final = "AMENDS_TOKENS"
FORM: Final = "name:role:secret,name2:role2:secret2"
NAME_CHARS_MAX: Final = 60
_SECRET: Final = re.compile(r"[!-~]{8,}")


class Role(IntEnum):
    """What a token may do; a greater one may do all that a lesser one may."""

    READ = 1
    START = 2
    APPLY = 3
    OPERATE = 4

    @property
    def word(self) -> str:
        """As it is written in AMENDS_TOKENS."""
        return self.name.lower()


ROLES: Final = {role.word: role for role in Role}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the token's name, which the audit keeps, and what it may do."""

    name: str
    role: Role


# Without tokens only this machine can ask; it may do everything.
LOCAL: Final = Caller("local", Role.OPERATE)


@dataclass(frozen=True, slots=True)
class _Token:
    caller: Caller
    digest: bytes


class Tokens:
    """The tokens of one coordinator. Empty: whoever reaches the door may do everything (loopback only)."""

    def __init__(self, tokens: tuple[_Token, ...] = ()) -> None:
        self._tokens = tokens

    @classmethod
    def parse(cls, text: str) -> Tokens:
        """Read `name:role:secret,...`.

        Raises: InvalidSetting, which names an entry by its place, never by its text.
        """
        tokens: list[_Token] = []
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        for place, entry in enumerate(entries, start=1):
            tokens.append(_parse(entry, place))
        names = [token.caller.name for token in tokens]
        for place, name in enumerate(names, start=1):
            if name in names[: place - 1]:
                raise InvalidSetting(
                    VARIABLE, f"entry {place}: the name {name!r} is taken; the audit tells by it"
                )
        if len({token.digest for token in tokens}) < len(tokens):
            raise InvalidSetting(VARIABLE, "has two entries with the same secret; give each its own")
        return cls(tuple(tokens))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._tokens)

    def __iter__(self) -> Iterator[Caller]:
        """Their names and roles."""
        return (token.caller for token in self._tokens)

    def __repr__(self) -> str:
        """Names and roles; never secrets."""
        return f"Tokens({', '.join(f'{caller.name}:{caller.role.word}' for caller in self)})"

    def caller(self, secret: str) -> Caller | None:
        """Whose secret this is; None if nobody's.

        Takes the same time for every secret: digests are compared, each with `compare_digest`, all of them.
        """
        digest = _digest(secret)
        found: Caller | None = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token.caller
        return found


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _parse(entry: str, place: int) -> _Token:
    name, _, rest = entry.partition(":")
    word, _, secret = rest.partition(":")
    if not (name and word and secret):
        raise InvalidSetting(VARIABLE, f"entry {place} is not {FORM.partition(',')[0]}")
    if len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise InvalidSetting(
            VARIABLE, f"entry {place}: a name has up to {NAME_CHARS_MAX} printable characters"
        )
    role = ROLES.get(word)
    if role is None:
        raise InvalidSetting(VARIABLE, f"entry {place} ({name}): its role must be one of {', '.join(ROLES)}")
    if not _SECRET.fullmatch(secret):
        raise InvalidSetting(
            VARIABLE,
            f"entry {place} ({name}): a secret is 8 or more ASCII characters, no spaces",
        )
    return _Token(Caller(name, role), _digest(secret))
