"""What is declared of a service: where it is, which commands it obeys, what its answers mean. Data, checked at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from amends.outbox.limits import BODY_BYTES_MAX
from amends.participants.http.errors import InvalidDeclaration

Verdict = Literal["done", "refused", "failed"]
Network = IPv4Network | IPv6Network

TIMEOUT_S_MAX: Final = 60.0
# A reply carries more than the result.
ANSWER_BYTES_MAX: Final = BODY_BYTES_MAX - 16 * 1024

_OURS: Final = (
    "amends-attempt",
    "amends-path",
    "amends-saga",
    "amends-signature",
    "amends-undoes",
    "connection",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "traceparent",
    "transfer-encoding",
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VISIBLE: Final = re.compile(r"[\x20-\x7e]*")


class HttpUndo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an undo is posted, and what its answers mean where that is not as usual."""

    post: str
    statuses: dict[int, Verdict] = {}


class HttpCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a command is posted. `undo` names its undo commands and where they are posted.

    `statuses` changes what a status code means. `result="none"` takes whatever a 2xx says for done, without reading
    it. `timeout_s` is this command's own.
    """

    post: str
    undo: dict[str, str | HttpUndo] = {}
    statuses: dict[int, Verdict] = {}
    result: Literal["json", "none"] = "json"
    timeout_s: float | None = None


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service. Also what a TOML file holds.

    `hosts` are further hosts that a `post` may name; `networks` those private networks that may be reached.
    `key_files` hold the keys that sign requests, `header_files` the values of further headers, such as Authorization.
    """

    name: str
    base: str
    commands: dict[str, str | HttpCommand]
    hosts: list[str] = []
    networks: list[str] = []
    timeout_s: float = 10.0
    answer_bytes_max: int = ANSWER_BYTES_MAX
    headers: dict[str, str] = {}
    header_files: dict[str, str] = {}
    key_files: list[str] = []
    ca_file: str | None = None
    breaker_failures: int = 5
    breaker_open_s: float = 30.0

    def each(self) -> Iterator[tuple[str, HttpCommand]]:
        """The commands by name, each in its long form."""
        for name, command in self.commands.items():
            yield name, HttpCommand(command) if isinstance(command, str) else command

    def url(self, post: str) -> str:
        """Where a `post` goes: below the base, unless it is a URL itself."""
        return post if "://" in post else f"{self.base.rstrip('/')}/{post.lstrip('/')}"

    def reachable(self) -> tuple[Network, ...]:
        """The private networks that may be reached: those declared, and the addresses that URLs name themselves."""
        named = [host for host in self.named_hosts() if _is_address(host)]
        return tuple(ip_network(one) for one in (*self.networks, *named))

    def named_hosts(self) -> frozenset[str]:
        """The hosts that may be posted to, in lower case."""
        return frozenset(host.lower() for host in (_host(self.base), *self.hosts))


def undo_of(undo: str | HttpUndo) -> HttpUndo:
    """An undo in its long form."""
    return HttpUndo(undo) if isinstance(undo, str) else undo


def checked(declaration: Declaration) -> Declaration:
    """The same. Raises: InvalidDeclaration, saying what is wrong where, and what it may be."""
    told = f"http participant {declaration.name!r}: "
    try:
        _check_url(declaration, "base", declaration.base)
        if "?" in declaration.base:
            raise InvalidDeclaration("base: a query belongs to a command's post")
        for network in declaration.networks:
            ip_network(network)
        for name, command in declaration.each():
            _check_url(declaration, f"commands.{name}.post", declaration.url(command.post))
            limit_s = declaration.timeout_s if command.timeout_s is None else command.timeout_s
            _check_timeout(f"commands.{name}.timeout_s", limit_s)
            for undo, post in command.undo.items():
                _check_url(declaration, f"commands.{name}.undo.{undo}", declaration.url(undo_of(post).post))
        for header in (*declaration.headers, *declaration.header_files):
            if not _TOKEN.fullmatch(header) or header.lower() in _OURS:
                raise InvalidDeclaration(f"headers: {header!r} cannot be set: {', '.join(_OURS)} are ours")
        for header, value in declaration.headers.items():
            if not _VISIBLE.fullmatch(value):
                raise InvalidDeclaration(f"headers.{header}: only visible ASCII characters and blanks")
        if not 0 < declaration.answer_bytes_max <= ANSWER_BYTES_MAX:
            raise InvalidDeclaration(f"answer_bytes_max: from 1 to {ANSWER_BYTES_MAX:,}")
        if declaration.breaker_failures < 1 or declaration.breaker_open_s <= 0:
            raise InvalidDeclaration("breaker_failures: at least 1; breaker_open_s: more than 0")
        if not declaration.commands:
            raise InvalidDeclaration("commands: at least one")
    except (InvalidDeclaration, ValueError) as error:
        raise InvalidDeclaration(told + str(error)) from error
    return declaration


def declared(content: object) -> Declaration:
    """A declaration from plain data. Raises: InvalidDeclaration."""
    try:
        return checked(msgspec.convert(content, Declaration, str_keys=True))
    except msgspec.ValidationError as error:
        raise InvalidDeclaration(f"no declaration of an http participant: {error}") from error


def _check_url(declaration: Declaration, place: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidDeclaration(f"{place}: {url!r} is no http or https URL")
    if parts.username or parts.password or parts.fragment or not _VISIBLE.fullmatch(url) or " " in url:
        raise InvalidDeclaration(
            f"{place}: a URL without user, password, fragment, blanks or other than ASCII characters; "
            f"put credentials into header_files"
        )
    if parts.port == 0:
        raise InvalidDeclaration(f"{place}: port 0 is none")
    if parts.hostname.lower() not in declaration.named_hosts():
        raise InvalidDeclaration(f"{place}: {parts.hostname!r} is neither the base's host nor among `hosts`")


def _check_timeout(place: str, timeout_s: float) -> None:
    # A call must be over before its lease is: the worker's time limit and 30 s (B5).
    if not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise InvalidDeclaration(f"{place}: more than 0 and at most {TIMEOUT_S_MAX:g} s, not {timeout_s:g}")


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
