"""A participant for a service that cannot embed anything: each step becomes a POST to it.

    from amends.participants.http import http_participant

    legacy = http_participant("legacy", base="https://legacy.example.com/api", commands={"charge": "charges"})

Needs `pip install 'amends[http]'`. docs/http-adapter.md tells what is sent and what the answers mean.
"""

from __future__ import annotations

from importlib.util import find_spec

from amends.db.errors import MissingExtra

if find_spec("httpcore") is None:
    raise MissingExtra("amends.participants.http", "http")

from amends.participants.http.declaration import HttpCommand, HttpUndo, Verdict
from amends.participants.http.errors import InvalidDeclaration
from amends.participants.http.participant import http_participant, participant_from_file
from amends.participants.http.signing import signature

__all__ = [
    "HttpCommand",
    "HttpUndo",
    "InvalidDeclaration",
    "Verdict",
    "http_participant",
    "participant_from_file",
    "signature",
]
