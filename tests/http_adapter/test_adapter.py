"""The HTTP adapter in a worker: what is sent, and what becomes of the saga when the service misbehaves (B5)."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from amends.outbox.wire import Op, Outcome
from amends.participants import Participant
from amends.participants.http import HttpCommand, http_participant, participant_from_file
from tests.http_adapter.conftest import Serve
from tests.http_adapter.misbehaving import answer, break_off, drip, endless, hang, serving, twice
from tests.participants.coordinator import again, command

PAID = answer(200, b'{"charge": 7}')
CHARGE = {"charge": HttpCommand("charges", undo={"refund": "refunds"})}


def legacy(base: str, **options: Any) -> Participant:
    """The participant under test."""
    return http_participant("legacy", base=f"{base}/api", **{"commands": CHARGE, **options})


def test_a_step_is_posted_once_with_its_key_and_undone_under_it(serve: Serve) -> None:
    with serving(PAID) as service:
        coordinator = serve(legacy(service.base))
        done = coordinator.ask(sent := command("charge", {"cents": 4200}))
        repeated = coordinator.ask(again(sent, attempt=2))
        undone = coordinator.ask(again(sent, op=Op.UNDO, command="refund", attempt=3))

    do, undo = service.requests
    key = f"{sent.saga}/charge/do"
    assert (done.outcome, bytes(done.result)) == (Outcome.DONE, b'{"charge": 7}')
    assert repeated.outcome is undone.outcome is Outcome.DONE
    assert (do.path, do.headers["idempotency-key"], json.loads(do.body)) == (
        "/api/charges",
        key,
        {"cents": 4200},
    )
    assert (undo.path, undo.headers["amends-undoes"]) == ("/api/refunds", key)
    assert undo.headers["idempotency-key"] == f"{sent.saga}/charge/undo"
    assert json.loads(undo.body) == {"args": {"cents": 4200}, "result": {"charge": 7}, "certain": True}


def test_what_was_sent_and_not_answered_is_voided_by_its_key(serve: Serve) -> None:
    """Silence is unknown: the undo says so, and names the key (B5)."""
    with serving(hang, PAID) as service:
        coordinator = serve(legacy(service.base, timeout_s=0.2))
        silent = coordinator.ask(sent := command("charge", {}))
        undone = coordinator.ask(again(sent, op=Op.UNDO, command="refund", attempt=2))

    assert (silent.outcome, silent.spent) == (Outcome.FAILED, True)
    assert "did not answer within 0.2 s" in silent.reason
    assert undone.outcome is Outcome.DONE
    assert service.requests[1].headers["amends-undoes"] == f"{sent.saga}/charge/do"
    assert json.loads(service.requests[1].body) == {"args": {}, "result": None, "certain": False}


@pytest.mark.parametrize(
    ("act", "told"),
    [
        pytest.param(hang, "did not answer", id="hangs"),
        pytest.param(drip, "did not answer", id="drips"),
        pytest.param(break_off, "broke off", id="closes-in-mid-body"),
        pytest.param(lambda handler: handler.send(b"nonsense\r\n\r\n"), "broke off", id="talks-nonsense"),
        pytest.param(answer(200, b"<html>"), "no JSON", id="answers-a-page"),
        pytest.param(answer(200, b'"\xff"'), "no JSON", id="answers-no-utf-8"),
    ],
)
def test_what_is_no_answer_is_tried_again_under_the_same_key(serve: Serve, act: Any, told: str) -> None:
    """The dripping one ran for as long as it dripped without the deadline in `_LimitedStream.read`."""
    with serving(act, PAID) as service:
        coordinator = serve(legacy(service.base, timeout_s=0.3))
        failed = coordinator.ask(sent := command("charge", {}), deadline_s=20)
        done = coordinator.ask(again(sent, attempt=2))

    assert (failed.outcome, failed.spent) == (Outcome.FAILED, True)
    assert told in failed.reason
    assert done.outcome is Outcome.DONE
    assert len({request.headers["idempotency-key"] for request in service.requests}) == 1


def test_a_second_answer_on_a_connection_is_nobodys(serve: Serve) -> None:
    """Seen to fail with a pool that keeps connections: the second step was told `first, again`."""
    with serving(twice(b'"first"', b'"first, again"'), answer(200, b'"second"')) as service:
        coordinator = serve(legacy(service.base))
        replies = [coordinator.ask(command("charge", {})) for _ in range(2)]

    assert [bytes(reply.result) for reply in replies] == [b'"first"', b'"second"']
    assert service.connections == 2


@pytest.mark.parametrize("act", [endless, answer(200, b'"' + b"x" * 5_000 + b'"')], ids=["endless", "long"])
def test_an_answer_over_the_limit_is_refused_in_doubt(serve: Serve, act: Any) -> None:
    """It was done, so it is compensated (O5); and it is not read to its end."""
    with serving(act) as service:
        reply = serve(legacy(service.base, answer_bytes_max=4_000)).ask(command("charge", {}))

    assert (reply.outcome, reply.certain) == (Outcome.REFUSED, False)
    assert "result_too_large" in reply.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(serve: Serve, status: int) -> None:
    with serving(PAID) as other, serving(answer(status, Location=f"{other.base}/api/charges")) as service:
        reply = serve(legacy(service.base)).ask(command("charge", {}))

    assert reply.outcome is Outcome.FAILED
    assert "none is followed" in reply.reason
    assert other.requests == []


@pytest.mark.parametrize(
    ("act", "outcome", "spent", "after_s"),
    [
        (answer(204), Outcome.DONE, True, None),
        (answer(202, b"{}"), Outcome.FAILED, False, 1),
        (answer(422, b'{"detail": "card declined"}'), Outcome.REFUSED, True, None),
        (answer(409, b"{}"), Outcome.REFUSED, True, None),
        (answer(408), Outcome.FAILED, True, None),
        (answer(425, Retry_After="3"), Outcome.FAILED, False, 3),
        (answer(429, Retry_After="7"), Outcome.FAILED, False, 7),
        (answer(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), Outcome.FAILED, False, 0),
        (answer(503, Retry_After="999999999999"), Outcome.FAILED, False, 3600),
        (answer(500), Outcome.FAILED, True, None),
        (answer(401), Outcome.FAILED, False, 30),
        (answer(404), Outcome.FAILED, False, 30),
        (answer(418), Outcome.FAILED, True, None),
    ],
)
def test_the_status_decides(
    serve: Serve, act: Any, outcome: Outcome, spent: bool, after_s: float | None
) -> None:
    with serving(act) as service:
        reply = serve(legacy(service.base)).ask(command("charge", {}))

    assert (reply.outcome, reply.spent, reply.retry_after_s) == (outcome, spent, after_s)
    if reply.outcome is Outcome.REFUSED:
        assert reply.certain
        assert reply.reason in ("card declined", "status 409")


def test_a_command_may_say_what_a_status_means(serve: Serve) -> None:
    commands = {"charge": {"post": "charges", "statuses": {404: "refused", 409: "failed", 202: "done"}}}
    with serving(answer(404), answer(409), answer(202)) as service:
        coordinator = serve(legacy(service.base, commands=commands))
        replies = [coordinator.ask(command("charge", {})) for _ in range(3)]

    assert [reply.outcome for reply in replies] == [Outcome.REFUSED, Outcome.FAILED, Outcome.DONE]


def test_the_breaker_of_a_host_in_trouble_opens_and_its_calls_fail_unspent(serve: Serve) -> None:
    with serving(answer(500)) as service:
        coordinator = serve(legacy(service.base, breaker_failures=2))
        replies = [coordinator.ask(command("charge", {})) for _ in range(4)]

    assert [reply.spent for reply in replies] == [True, True, False, False]
    assert replies[3].retry_after_s is not None
    assert len(service.requests) == 2


def test_a_service_that_is_not_there_costs_no_attempt(serve: Serve) -> None:
    with serving(PAID) as service:
        base = service.base
    reply = serve(legacy(base)).ask(command("charge", {}))

    assert (reply.outcome, reply.spent) == (Outcome.FAILED, False)
    assert "cannot be reached" in reply.reason


def test_keys_sign_each_request_and_rotate_without_a_restart(serve: Serve, tmp_path: Path) -> None:
    files = [tmp_path / "new", tmp_path / "old"]
    files[1].write_text("yesterday\n")
    files[0].write_text("today\n")
    with serving(PAID) as service:
        coordinator = serve(legacy(service.base, key_files=[str(file) for file in files]))
        coordinator.ask(command("charge", {"cents": 1}))
        files[1].write_text("the day before\n")
        coordinator.ask(command("charge", {"cents": 2}))
        files[0].unlink()
        missing = coordinator.ask(command("charge", {"cents": 3}))

    for request, keys in zip(
        service.requests, [(b"today", b"yesterday"), (b"today", b"the day before")], strict=True
    ):
        moment, *signatures = request.headers["amends-signature"].split(",")
        signed = (
            f"{moment[2:]}\n{request.path}\n{request.headers['idempotency-key']}\n".encode() + request.body
        )
        assert signatures == [f"v1={hmac.new(key, signed, sha256).hexdigest()}" for key in keys]
    assert (missing.outcome, missing.spent) == (Outcome.FAILED, False)
    assert "cannot be read" in missing.reason


def test_a_toml_file_declares_a_participant(serve: Serve, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("Bearer 77\n")
    with serving(PAID) as service:
        file = tmp_path / "legacy.toml"
        file.write_text(
            f"""
            name = "legacy"
            base = "{service.base}/api/"
            header_files = {{ Authorization = "{token}" }}
            [commands]
            score = "/scores?fast=1"
            [commands.charge]
            post = "charges"
            undo = {{ refund = {{ post = "refunds", statuses = {{ 404 = "done" }} }} }}
            """
        )
        reply = serve(participant_from_file(file)).ask(command("score", {}))

    assert reply.outcome is Outcome.DONE
    assert service.requests[0].path == "/api/scores?fast=1"
    assert service.requests[0].headers["authorization"] == "Bearer 77"


def test_a_path_that_no_header_can_hold_is_escaped(serve: Serve) -> None:
    """A name of the saga must not become a header of its own."""
    with serving(PAID) as service:
        reply = serve(legacy(service.base)).ask(sent := command("charge", {}, path="zahl\r\nX-Evil: 1/ä"))

    assert reply.outcome is Outcome.DONE
    assert service.requests[0].headers["idempotency-key"] == f"{sent.saga}/zahl%0D%0AX-Evil: 1/%C3%A4/do"
    assert "x-evil" not in service.requests[0].headers
