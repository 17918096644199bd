"""Registration: what stands never changes, and what could not be used later is refused now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, queries, step
from amends.coordinator.catalog import Catalog
from amends.coordinator.errors import VersionConflict
from amends.coordinator.saga.errors import InvalidDefinition


def saga(version: int = 1, command: str = "charge", schema: dict[str, object] | None = None) -> Saga:
    return Saga("pay", step(command, to="payments", undo="refund"), version=version, input=schema)


def test_a_version_registered_twice_with_other_content_is_refused(coordinator_database: Engine) -> None:
    catalog = Catalog(coordinator_database)
    first = catalog.register(saga().definition, actor="ann")
    again = catalog.register(saga().definition, actor="ben")

    with pytest.raises(VersionConflict, match="raise `version=`"):
        catalog.register(saga(command="bill").definition, actor="ben")

    assert (first.created, again.created) == (True, False)
    listed = queries.definitions(coordinator_database)
    assert [(one.version, one.active, one.registered_by) for one in listed] == [(1, True, "ann")]


def test_many_registrations_at_once_leave_one_active_version(coordinator_database: Engine) -> None:
    """Guard: LOCK_NAME in Catalog.register; without it the partial unique index raises for some."""
    catalogs = [Catalog(coordinator_database) for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: catalogs[number % 8].register(saga(version=number + 1).definition, actor="x"),
                range(24),
            )
        )

    active = [one.version for one in queries.definitions(coordinator_database) if one.active]
    assert len(active) == 1
    assert catalogs[1].get("pay").version == active[0]  # type: ignore[union-attr]


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "#/nowhere"}, {"pattern": "("}])
def test_a_schema_that_is_none_is_refused_at_registration(
    coordinator_database: Engine, schema: dict[str, object]
) -> None:
    with pytest.raises(InvalidDefinition, match="input"):
        Catalog(coordinator_database).register(saga(schema=schema).definition, actor="ann")


def test_a_schema_makes_the_coordinator_call_nobody(coordinator_database: Engine) -> None:
    """A `$ref` to a server is refused and not followed. Guard: `retriever=` in inputs._compiled."""
    asked: list[str] = []

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    server = HTTPServer(("127.0.0.1", 0), Door)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(InvalidDefinition, match="outside of the definition"):
            reference = {"$ref": f"http://127.0.0.1:{server.server_port}/secret"}
            Catalog(coordinator_database).register(saga(schema=reference).definition, actor="ann")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert asked == []


def test_a_definition_of_a_newer_release_is_unknown_here_and_hinders_no_other(
    coordinator_database: Engine,
) -> None:
    """E3: while releases run side by side an older coordinator starts and keeps on."""
    catalog = Catalog(coordinator_database)
    catalog.register(saga().definition, actor="ann")
    with coordinator_database.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO amends.definition (name, version, hash, body, active, registered_by) "
            "SELECT 'newer', 1, 'h', jsonb_set(body::jsonb, '{language}', '99')::json, true, 'bob' "
            "FROM amends.definition LIMIT 1"
        )
    late = Catalog(coordinator_database)

    assert late.participants() == frozenset(saga().definition.participants)
    assert late.get("newer") is None
