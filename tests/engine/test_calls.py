"""Calls at registration: to what is not there yet, and in circles."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, call, chain, wait
from amends.coordinator.catalog import Catalog
from amends.coordinator.saga.errors import InvalidDefinition


def test_a_call_to_a_saga_that_is_not_registered_yet_is_allowed(
    coordinator_database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the order of deployment; but it is logged."""
    catalog = Catalog(coordinator_database)

    catalog.register(Saga("outer", call("inner"), version=1).definition, actor="test")

    (warning,) = [one for one in caplog.records if one.message == "called_saga_not_registered"]
    assert (warning.__dict__["saga"], warning.__dict__["calls"]) == ("outer", "inner")


def test_calls_in_a_circle_are_refused(coordinator_database: Engine) -> None:
    """They would never end. Guard: `refuse_cycles` in Catalog.register."""
    catalog = Catalog(coordinator_database)
    with pytest.raises(InvalidDefinition, match=r"call 'inner': 'inner' calls 'inner'"):
        catalog.register(Saga("inner", call("inner"), version=1).definition, actor="test")
    catalog.register(Saga("outer", chain(wait("go"), call("middle")), version=1).definition, actor="test")
    catalog.register(Saga("middle", call("inner"), version=1).definition, actor="test")

    with pytest.raises(InvalidDefinition, match="'inner' calls 'outer' calls 'middle' calls 'inner'"):
        catalog.register(Saga("inner", call("outer"), version=1).definition, actor="test")

    assert catalog.get("inner") is None
    assert catalog.get("outer") is not None
