"""Who may come in: tokens, their ordered roles, what is open, and what a door without tokens keeps out."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from tests.doors.house import INPUT, SECRETS, House, problem

ROLES = ("read", "start", "apply", "operate")
ID = uuid4()
ROUTES = [
    ("GET", "/sagas", None, "read"),
    ("GET", f"/sagas/{ID}", None, "read"),
    ("GET", f"/sagas/{ID}/timeline", None, "read"),
    ("GET", f"/sagas/{ID}/why", None, "read"),
    ("GET", f"/sagas/{ID}/drawing", None, "read"),
    ("GET", "/definitions", None, "read"),
    ("GET", "/definitions/place-order", None, "read"),
    ("GET", "/definitions/place-order/1", None, "read"),
    ("GET", "/definitions/place-order/drawing", None, "read"),
    ("GET", "/definitions/place-order/1/diff?to=place-order@1", None, "read"),
    ("GET", "/timers", None, "read"),
    ("GET", "/audit", None, "read"),
    ("GET", "/schedules", None, "read"),
    ("GET", "/schedules/nightly", None, "read"),
    ("GET", "/participants/payments/needs", None, "read"),
    ("GET", "/outbox", None, "read"),
    ("POST", "/sagas", {"name": "place-order", "input": INPUT}, "start"),
    ("POST", "/definitions", {"definition": {}}, "apply"),
    ("POST", "/definitions/place-order/activate", {"version": 1}, "apply"),
    ("POST", "/definitions/place-order/suspend", {}, "apply"),
    ("POST", "/definitions/place-order/resume", {}, "apply"),
    ("POST", "/schedules", {"name": "nightly", "cron": "x", "saga": "y", "input": {}}, "apply"),
    ("POST", "/schedules/nightly/remove", {"reason": "x"}, "apply"),
    ("POST", "/schedules/nightly/pause", {"reason": "x"}, "operate"),
    ("POST", "/schedules/nightly/resume", {"reason": "x"}, "operate"),
    ("POST", f"/sagas/{ID}/signals/approved", {}, "start"),
    ("POST", f"/sagas/{ID}/retry", {"reason": "x"}, "operate"),
    ("POST", f"/sagas/{ID}/skip", {"reason": "x", "path": "x"}, "operate"),
    ("POST", f"/sagas/{ID}/compensate", {"reason": "x"}, "operate"),
    ("POST", f"/sagas/{ID}/timers/move", {"reason": "x", "in": "1h"}, "operate"),
    ("POST", f"/sagas/{ID}/timers/cancel", {"reason": "x"}, "operate"),
    ("POST", f"/sagas/{ID}/edit", {"reason": "x", "path": "x", "args": {}}, "operate"),
    ("POST", f"/sagas/{ID}/force", {"reason": "x", "path": "x"}, "operate"),
    ("POST", f"/sagas/{ID}/finish", {"reason": "x"}, "operate"),
    (
        "POST",
        "/sagas/acts",
        {"what": {"act": "finish", "reason": "x"}, "where": {"name": "x"}, "dry_run": True},
        "operate",
    ),
    ("POST", "/outbox/retry", {"reason": "x"}, "operate"),
]


def test_every_route_wants_its_role_and_a_higher_one_may_too(guarded: House) -> None:
    """Seen to fail with the comparison of roles taken out of `needs`."""
    for method, path, body, wanted in ROUTES:
        for role in ROLES:
            answer = guarded.http(role).request(method, path, json=body)
            if ROLES.index(role) < ROLES.index(wanted):
                assert problem(answer) == (403, "forbidden", "Authorization"), (method, path, role)
                assert wanted in answer.json()["message"]
            else:
                assert answer.status_code not in (401, 403), (method, path, role, answer.text)


def test_every_described_route_is_in_the_list_above(guarded: House) -> None:
    described = guarded.http().get("/openapi.json").json()["paths"]

    closed = {
        (method.upper(), path)
        for path, methods in described.items()
        for method in methods
        if path not in ("/healthz", "/readyz", "/metrics")
    }

    assert len(closed) == len(ROUTES)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong-secret"},
        {"Authorization": f"Basic {SECRETS['operate']}"},
        {"Authorization": SECRETS["operate"]},
        {"Authorization": "Bearer \xff"},
    ],
)
def test_without_a_known_secret_nothing_is_told(guarded: House, headers: dict[str, str]) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}

    answer = httpx.get(f"{guarded.server.url}/sagas", headers=raw)  # type: ignore[arg-type]

    assert problem(answer) == (401, "unauthorized", "Authorization")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "secret-of" not in answer.text


def test_who_asks_is_known_before_a_body_is_read(guarded: House) -> None:
    answer = httpx.post(f"{guarded.server.url}/sagas", content=b"[" * 2_000_000)

    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"])
def test_probes_and_scrapers_need_no_token(guarded: House, path: str) -> None:
    assert guarded.http().get(path).status_code not in (401, 403)


def test_without_tokens_another_hosts_name_is_refused(shared_house: House) -> None:
    """A web page that points its own name at this machine gets nothing. Seen to fail without `_by_place`."""
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""):
        answer = shared_house.http().get("/sagas", headers={"Host": host})
        assert problem(answer) == (401, "unauthorized", "Authorization")

    for host in ("localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"):
        assert shared_house.http().get("/sagas", headers={"Host": host}).status_code == 200


def test_without_tokens_a_form_of_a_web_page_does_nothing(shared_house: House) -> None:
    answer = shared_house.http().post(
        "/sagas", content='{"name": "place-order"}', headers={"Content-Type": "text/plain"}
    )

    assert problem(answer) == (415, "not_json", "Content-Type")
