"""Which addresses the HTTP adapter connects to, and which declarations it takes."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from amends.participants.http import InvalidDeclaration, http_participant, participant_from_file
from amends.participants.http.addresses import allowed
from tests.http_adapter.conftest import Serve
from tests.http_adapter.misbehaving import answer, serving
from tests.participants.coordinator import command


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "192.168.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
    ],
)
def test_no_private_address_is_reached_unless_its_network_is_declared(address: str) -> None:
    assert not allowed(ip_address(address), ())
    assert allowed(ip_address(address), [ip_network(address)])


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"]
)
def test_public_addresses_are_reached(address: str) -> None:
    assert allowed(ip_address(address), ())


def test_a_name_that_leads_to_a_private_address_leads_nowhere(serve: Serve) -> None:
    """`localhost` stands for any name whose owner points it inside. Seen to fail with `allowed` always true."""
    with serving(answer(200)) as service:
        base = service.base.replace("127.0.0.1", "localhost")
        inside = serve(http_participant("inside", base=base, commands={"charge": "c"})).ask(command("charge"))
        meant = serve(
            http_participant(
                "meant", base=base, commands={"charge": "c"}, networks=["127.0.0.0/8", "::1/128"]
            )
        ).ask(command("charge"))

    assert (inside.outcome.value, inside.spent) == ("failed", False)
    assert "not allowed" in inside.reason
    assert meant.outcome.value == "done"
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"base": "ftp://h"}, "no http or https URL"),
        ({"base": "http://user:secret@h"}, "header_files"),
        ({"base": "http://h/#x"}, "fragment"),
        ({"base": "http://h/?x=1"}, "query"),
        ({"commands": {}}, "at least one"),
        ({"commands": {"charge": "http://other/charges"}}, "neither the base's host"),
        ({"commands": {"charge": {"post": "c", "undo": {"refund": "https://evil/"}}}}, "undo.refund"),
        ({"commands": {"charge": {"post": "c\r\nHost: evil"}}}, "ASCII"),
        ({"commands": {"charge": {"post": "c", "undos": {}}}}, "undos"),
        ({"commands": {"charge": {"post": "c", "statuses": {404: "gone"}}}}, "gone"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 3600}, "at most 60 s"),
        ({"networks": ["10.0.0.0/99"]}, "10.0.0.0/99"),
        ({"headers": {"Host": "evil"}}, "are ours"),
        ({"headers": {"X": "a\r\nY: b"}}, "visible"),
        ({"answer_bytes_max": 10**9}, "answer_bytes_max"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"breaker_failures": 0}, "breaker"),
    ],
)
def test_a_declaration_that_cannot_be_served_is_told_at_once(options: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"base": "https://h/api", "commands": {"charge": "charges"}}
    with pytest.raises(InvalidDeclaration, match=told):
        http_participant("legacy", **{**given, **options})


def test_the_command_line_takes_a_toml_file_and_tells_what_is_wrong_in_it(tmp_path: Any) -> None:
    file = tmp_path / "legacy.toml"
    file.write_text('name = "legacy"\nbase = "https://h"\n[commands.charge]\nposts = "c"\n')
    run = subprocess.run(
        [
            *(sys.executable, "-m", "amends.db.cli", "participant", str(file)),
            *("--database", "sqlite:///x", "--broker", "memory://x"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode != 0
    assert "posts" in run.stderr
    with pytest.raises(InvalidDeclaration, match=r"nowhere\.toml cannot be read"):
        participant_from_file("nowhere.toml")
