"""Registration over HTTP with whatever an accident makes of a definition: an answer in the one shape, never a 500."""

from __future__ import annotations

from typing import Any, Final

import httpx
import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amends.coordinator.definition_schema import definition_schema
from tests.doors.house import House, problem
from tests.saga.definitions import json_values, mutants

VALIDATOR: Final = jsonschema_rs.validator_for(definition_schema())
SAGA: Final[dict[str, Any]] = {
    "version": 1,
    "root": {"kind": "chain", "nodes": [{"kind": "sleep", "name": "nap", "duration": "1s"}]},
}
HARMLESS: Final = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def registered(house: House, definition: Any) -> httpx.Response:
    # JSON has no halves of surrogate pairs; httpx would not send them.
    answer = house.http().post("/definitions", json={"definition": definition, "activate": False})
    if answer.status_code >= 400:
        status, code, _ = problem(answer)
        assert (status, code) in {
            (400, "malformed_json"),
            (409, "version_conflict"),
            (422, "invalid_definition"),
            (422, "invalid_request"),
            (422, "too_deep"),
            (422, "too_many_values"),
        }, answer.text
    return answer


def sendable(value: Any) -> bool:
    """Whether a client can write it as JSON at all."""
    try:
        httpx.Request("POST", "http://x", json=value)
    except (ValueError, UnicodeEncodeError):
        return False
    return True


@pytest.mark.timeout(300)
@HARMLESS
@given(mutants().filter(sendable))
def test_an_accident_is_registered_only_if_it_fits_the_schema(shared_house: House, value: Any) -> None:
    answer = registered(shared_house, value)

    assert answer.status_code >= 400 or VALIDATOR.is_valid(value)


@pytest.mark.timeout(300)
@HARMLESS
@given(
    st.dictionaries(
        st.sampled_from(
            ["type", "properties", "required", "$ref", "enum", "items", "pattern", "minimum", "anyOf"]
        ),
        json_values | st.sampled_from(["string", "#", "#/nowhere", "(", ["a"]]),
        max_size=4,
    )
)
def test_an_input_schema_that_is_none_is_refused_and_never_breaks_the_door(
    shared_house: House, schema: Any
) -> None:
    name = "fuzzed" + str(abs(hash(repr(schema))))

    answer = registered(shared_house, {**SAGA, "name": name, "input": schema})

    assert answer.status_code in (200, 201, 422)
