"""What the door takes: strict models, so that a typing slip is an answer and not a surprise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from amends.coordinator.saga.durations import DAY, milliseconds
from amends.coordinator.schedules.cron import CRON_CHARS_MAX, ZONE_CHARS_MAX
from amends.coordinator.schedules.records import LABELS_TAKEN
from amends.outbox.spelling import is_printable
from amends.outbox.wire import KEY_CHARS_MAX, LABEL_CHARS_MAX, LABELS_MAX, NAME_CHARS_MAX, PATH_CHARS_MAX

REASON_CHARS_MAX: Final = 1_000
IDS_MAX: Final = 1_000
VERSION_MAX: Final = 2**31 - 1
ROW_ID_MAX: Final = 2**63 - 1
SCHEDULE_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

DURATION_MAX_MS: Final = 366 * DAY


def duration_of(text: str) -> int:
    """Milliseconds of `30s`, `15m`, `24h` or `7d`. Raises: ValueError, which says the form."""
    length = milliseconds(text)
    if length is None:
        raise ValueError("must be a duration such as 30s, 15m, 24h or 7d")
    if not 0 < length <= DURATION_MAX_MS:
        raise ValueError("must be more than nothing and at most 366d")
    return length


def moment_of(text: str) -> datetime | timedelta:
    """The moment a time in ISO 8601 names, or how long ago it was. Raises: ValueError, which says the form."""
    if milliseconds(text) is not None:
        return timedelta(milliseconds=duration_of(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "must be a duration such as 15m or 24h, or a time such as 2026-01-31T12:00:00Z"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _printable(text: str) -> str:
    if not is_printable(text):
        raise ValueError("must not contain control characters")
    return text


def _duration(text: str) -> str:
    duration_of(text)
    return text


_PRINTABLE: Final = AfterValidator(_printable)
Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARS_MAX), _PRINTABLE]
Key = Annotated[str, StringConstraints(min_length=1, max_length=KEY_CHARS_MAX), _PRINTABLE]
Participant = Annotated[
    str, StringConstraints(min_length=1, max_length=NAME_CHARS_MAX, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")
]
Label = Annotated[str, StringConstraints(min_length=1, max_length=LABEL_CHARS_MAX), _PRINTABLE]
LabelValue = Annotated[str, StringConstraints(max_length=LABEL_CHARS_MAX), _PRINTABLE]
Path = Annotated[
    str,
    # A step's name, and the numbers of the items that it is for.
    StringConstraints(min_length=1, max_length=PATH_CHARS_MAX, pattern=r"^[^/]+(/[0-9]+)*$"),
    _PRINTABLE,
]
Duration = Annotated[str, AfterValidator(_duration)]
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=REASON_CHARS_MAX),
    _PRINTABLE,
]

OptionalReason = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=REASON_CHARS_MAX), _PRINTABLE
]


class Body(BaseModel):
    """Any request body: no type is bent to fit, no unknown field is passed over."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class StartBody(Body):
    """Start a saga. The same `key` of the same saga is the same saga: repeating a start is safe with one."""

    name: Name = Field(description="A registered saga.", examples=["place-order"])
    input: Any = Field(description="What the saga's input schema asks for.")
    key: Key | None = Field(
        None,
        description="Makes the start idempotent. Default: what the definition makes of the input, if it says.",
        examples=["order-1"],
    )
    labels: dict[Label, LabelValue] = Field(
        {},
        max_length=LABELS_MAX,
        description="For finding it again. They win over those that the definition makes of the input.",
    )
    version: int | None = Field(None, ge=1, le=VERSION_MAX, description="Default: the active version.")
    finished: Participant | None = Field(
        None, description="The participant that is told when the saga has ended.", examples=["shop"]
    )


class DefinitionBody(Body):
    """Register a saga in its JSON form, as `amends apply` sends it."""

    definition: dict[str, Any] = Field(description="The canonical JSON form.")
    activate: bool = Field(True, description="New sagas of this name take this version.")


class SwitchBody(Body):
    """Suspend or resume a saga. The audit keeps the reason; whoever starts a suspended saga over HTTP is told it."""

    reason: OptionalReason = ""


class ActivateBody(SwitchBody):
    """Let new sagas of the name take this version."""

    version: int = Field(ge=1, le=VERSION_MAX)


class ScheduleBody(Body):
    """Start a saga by the clock."""

    name: str = Field(max_length=NAME_CHARS_MAX, pattern=SCHEDULE_NAME, examples=["nightly-report"])
    cron: str = Field(
        max_length=CRON_CHARS_MAX,
        description="minute hour day-of-month month day-of-week, as cron reads them.",
        examples=["*/5 * * * *", "0 3 * * MON-FRI"],
    )
    timezone: str = Field(
        "UTC",
        max_length=ZONE_CHARS_MAX,
        description="A name of the IANA database.",
        examples=["Europe/Berlin"],
    )
    saga: Name = Field(description="A registered saga.", examples=["place-order"])
    input: Any = Field(description="What the saga's input schema asks for; the same for each run.")
    version: int | None = Field(
        None, ge=1, le=VERSION_MAX, description="Default: the version that is active at each run."
    )
    labels: dict[Label, LabelValue] = Field(
        {},
        max_length=LABELS_MAX - len(LABELS_TAKEN),
        description="Of each saga it starts, with `schedule` and `due`.",
    )
    missed: Literal["skip", "once", "all"] = Field(
        "once",
        description="What becomes of runs that passed: none of them, one for all, or each (up to 100).",
    )
    reason: OptionalReason = Field("", description="Kept in the audit.")


class ActBody(Body):
    """Why; the audit keeps it with the token's name."""

    reason: Reason


class SkipBody(ActBody):
    """Do without a stuck step."""

    path: Path


class RetryBody(ActBody):
    """Make everything outstanding due again, or one stuck step."""

    path: Path | None = Field(None, description="Default: every step that is stuck or waits.")
    deadline: Duration | None = Field(None, description="A new deadline, from now.", examples=["24h"])


class MoveTimerBody(ActBody):
    """Move what is due for a step, or without `path` the saga's deadline; say `to` or `in`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)

    path: Path | None = Field(None, description="The step. Default: the saga's deadline.")
    to: str | None = Field(None, max_length=64, description="A time.", examples=["2026-01-31T12:00:00Z"])
    within: str | None = Field(
        None, alias="in", max_length=32, description="So long from now; `0s` is now.", examples=["15m"]
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.to is None) is (self.within is None):
            raise ValueError("say when: either `to`, a time, or `in`, a duration from now")
        if self.to is not None:
            self.due_ms()
        else:
            self.in_ms()
        return self

    def in_ms(self) -> int | None:
        """How long from now is meant; None if it is a time. Raises: ValueError, which says the form."""
        if self.within is None:
            return None
        length = milliseconds(self.within)
        if length is None or length > DURATION_MAX_MS:
            raise ValueError("in: must be a duration such as 30s, 15m, 24h or 7d, at most 366d")
        return length

    def due_ms(self) -> int:
        """The time that is meant, in ms since 1970; 0 if it is a duration. Raises: ValueError, which says the form."""
        if self.to is None:
            return 0
        try:
            moment = datetime.fromisoformat(self.to)
        except ValueError:
            raise ValueError("to: must be a time such as 2026-01-31T12:00:00Z") from None
        return round((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class CancelTimerBody(ActBody):
    """Put the saga's deadline off as far as it goes, or how long a step waits for a signal."""

    path: Path | None = Field(None, description="The step. Default: the saga's deadline.")


class EditBody(SkipBody):
    """Give a step that is not done other args, and ask it again in a new round."""

    args: Any = Field(description="What the command gets from now on, in place of the definition's args.")
    deadline: Duration | None = Field(None, description="A new deadline, from now.", examples=["24h"])


class ForceBody(SkipBody):
    """Say what came of a stuck step: a result, or with `refuse` a refusal."""

    result: Any = Field(None, description="The result that later steps see; null if it has none.")
    refuse: bool = Field(False, description="It is refused instead: the saga compensates.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        # What was left out by mistake must not become a result of null that later steps build on.
        if not self.refuse and "result" not in self.model_fields_set:
            raise ValueError("say what came of it: `result` (null if it has none), or `refuse`")
        return self


class OutboxRetryBody(ActBody):
    """Send parked rows again."""

    ids: list[Annotated[int, Field(ge=1, le=ROW_ID_MAX)]] | None = Field(
        None, max_length=IDS_MAX, description="Default: every parked row."
    )
