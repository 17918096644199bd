"""What the door says when it says no: one shape, `{"error": code, "message": ..., "field": ...}`.

`error` is a constant word for programs, `message` says to people what happened and the mend, `field` names
the part of the request at fault, or is null. Neither payloads nor secrets are ever repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from amends.coordinator.errors import (
    InvalidSchedule,
    NotAccepting,
    ScheduleStands,
    UnknownDefinition,
    UnknownSaga,
    UnknownSchedule,
    VersionConflict,
)
from amends.coordinator.saga.errors import InvalidDefinition
from amends.db.errors import CommitUnknown, StoreUnavailable

log = logging.getLogger(__name__)

FIELD_CHARS_MAX: Final = 200
RETRY_AFTER_S: Final = 1
ALSO_MAX: Final = 10
COMMIT_UNKNOWN: Final = (
    "the database broke off during commit, so this may or may not have happened; "
    "look, or repeat it: a start with the same key, and any act, is safe to repeat"
)


class Problem(BaseModel):
    """The shape of every error."""

    error: str
    message: str
    field: str | None = None


class Refusal(Exception):
    """An answer that is no: a handler raises it to end the request with `status`."""

    def __init__(self, status: int, error: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = Problem(error=error, message=message, field=field)


def say_no(
    status: int, error: str, message: str, field: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """The response for an error."""
    body = Problem(error=error, message=message, field=shortened(field)).model_dump()
    return JSONResponse(body, status_code=status, headers=headers)


def shortened(field: str | None) -> str | None:
    """A field's path, cut where it gets long: its parts come from the request."""
    if field is None or len(field) <= FIELD_CHARS_MAX:
        return field
    return field[:FIELD_CHARS_MAX] + "..."


def answer_errors(app: FastAPI) -> None:
    """Make every error that a handler can raise an answer in the one shape."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StoreUnavailable, _store_unavailable)
    app.add_exception_handler(NotAccepting, _not_accepting)
    app.add_exception_handler(UnknownSaga, _unknown_saga)
    app.add_exception_handler(UnknownDefinition, _unknown_definition)
    app.add_exception_handler(VersionConflict, _version_conflict)
    app.add_exception_handler(UnknownSchedule, _unknown_schedule)
    app.add_exception_handler(ScheduleStands, _schedule_stands)
    app.add_exception_handler(InvalidSchedule, _invalid_schedule)
    app.add_exception_handler(InvalidDefinition, _invalid_definition)
    app.add_exception_handler(Exception, _broken)


def why_no_answer(error: Exception) -> str:
    """Why it is not known what became of one of many things that were asked for at once."""
    if isinstance(error, CommitUnknown):
        return COMMIT_UNKNOWN
    if isinstance(error, StoreUnavailable):
        return "the database is away, or somebody else holds this saga; nothing was stored: try again"
    if isinstance(error, Refusal | NotAccepting):
        return str(error)
    log.error("door_failed", extra={"error": type(error).__name__}, exc_info=error)
    return "the coordinator failed on this saga; its log tells more"


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    problem = error.problem
    return say_no(error.status, problem.error, problem.message, problem.field)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # The errors also hold the input itself, which may be secret: only place and message go out.
    first, *more = error.errors()
    place = _place(first)
    also = f"; also: {', '.join(dict.fromkeys(_place(one) for one in more[:ALSO_MAX]))}" if more else ""
    message = _said(first)
    # What a whole body lacks names its fields itself.
    where = "" if place == "body" and first["type"] == "value_error" else f"{place}: "
    return say_no(422, "invalid_request", f"{where}{message}{also}", place)


def _place(error: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])


def _said(error: Mapping[str, Any]) -> str:
    """What is wrong with a field. Where the model's own words leave the mend open, others."""
    match str(error["type"]):
        case "missing":
            return "must be given"
        case "extra_forbidden":
            return "is no field here: leave it out, or look for its name on /docs"
        case "string_pattern_mismatch":
            return f"must be of the form {error['ctx']['pattern']}"
        case _:
            return str(error["msg"]).removeprefix("Value error, ")


_WORDS: Final = {404: "not_found", 405: "method_not_allowed"}


def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    if error.status_code == 404:
        message = "there is nothing at this path; /docs lists what there is"
    if error.status_code == 405:
        methods = (error.headers or {}).get("Allow", "")
        taken = f", but {methods}" if methods else ""
        message = f"this path does not take that method{taken}; /docs lists what there is"
    word = _WORDS.get(error.status_code, "bad_request")
    return say_no(error.status_code, word, message, headers=dict(error.headers or {}))


def _store_unavailable(_: Request, error: Exception) -> JSONResponse:
    again = {"Retry-After": str(RETRY_AFTER_S)}
    if isinstance(error, CommitUnknown):
        return say_no(503, "outcome_unknown", COMMIT_UNKNOWN, headers=again)
    log.warning("door_without_database", extra={"error": type(error).__name__})
    return say_no(
        503, "database_unavailable", "the database is away; nothing was stored: try again", headers=again
    )


def _not_accepting(_: Request, error: Exception) -> JSONResponse:
    message = str(error) or "this coordinator is stopping; nothing was stored: try again"
    return say_no(503, "not_accepting", message, headers={"Retry-After": str(RETRY_AFTER_S)})


def _unknown_saga(_: Request, error: Exception) -> JSONResponse:
    return say_no(404, "unknown_saga", str(error), "saga_id")


def _unknown_definition(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UnknownDefinition)
    return say_no(404, "unknown_definition", str(error), "name" if error.version is None else "version")


def _version_conflict(_: Request, error: Exception) -> JSONResponse:
    return say_no(409, "version_conflict", str(error), "version")


def _unknown_schedule(_: Request, error: Exception) -> JSONResponse:
    return say_no(404, "unknown_schedule", str(error), "name")


def _schedule_stands(_: Request, error: Exception) -> JSONResponse:
    return say_no(409, "schedule_stands", str(error), "name")


def _invalid_schedule(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InvalidSchedule)
    return say_no(422, "invalid_schedule", str(error), error.field)


def _invalid_definition(_: Request, error: Exception) -> JSONResponse:
    return say_no(422, "invalid_definition", str(error), "definition")


def _broken(_: Request, error: Exception) -> JSONResponse:
    log.error("door_failed", extra={"error": type(error).__name__}, exc_info=error)
    return say_no(500, "internal_error", "the coordinator failed on this request; its log tells more")
