"""Settings: a bad one names its variable and what it may be, and never repeats its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from amends.db.config import Environment
from amends.db.errors import InvalidSetting

_URL = "postgresql+psycopg://someone:hush@host:5432/name"


def test_a_setting_comes_from_its_variable() -> None:
    assert Environment({"AMENDS_TOKEN": " t0ken "}).text("AMENDS_TOKEN") == "t0ken"


@pytest.mark.parametrize("values", [{}, {"AMENDS_TOKEN": ""}, {"AMENDS_TOKEN": "  "}])
def test_an_empty_variable_is_as_good_as_none(values: dict[str, str]) -> None:
    assert Environment(values).text("AMENDS_TOKEN") is None


def test_a_setting_comes_from_the_file_its_variable_names(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{_URL}\n")

    read = Environment({"AMENDS_DATABASE_URL_FILE": str(tmp_path / "secret")})

    assert read.database_url() == _URL


def test_both_a_value_and_a_file_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="AMENDS_TOKEN and AMENDS_TOKEN_FILE are both set; keep one"):
        Environment({"AMENDS_TOKEN": "a", "AMENDS_TOKEN_FILE": "b"}).text("AMENDS_TOKEN")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"", "is empty"), (b"\xff\xfe", "is not UTF-8")]
)
def test_a_file_that_holds_no_value_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InvalidSetting, match=f"AMENDS_TOKEN_FILE .*{said}"):
        Environment({"AMENDS_TOKEN_FILE": str(path)}).text("AMENDS_TOKEN")


def test_a_missing_setting_is_named_with_an_example() -> None:
    with pytest.raises(
        InvalidSetting,
        match=r"^AMENDS_DATABASE_URL is not set; set it, or AMENDS_DATABASE_URL_FILE, to .*psycopg://",
    ):
        Environment({}).database_url()


def test_a_wrong_database_is_refused_without_repeating_its_password() -> None:
    with pytest.raises(
        InvalidSetting, match="AMENDS_DATABASE_URL amends does not speak to 'oracle'"
    ) as caught:
        Environment({"AMENDS_DATABASE_URL": "oracle://someone:hush@host/name"}).database_url()

    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("value", ["-1", "65536", "8080.5", "eight", "٣"])
def test_a_number_out_of_bounds_is_told_the_bounds(value: str) -> None:
    with pytest.raises(InvalidSetting, match="AMENDS_METRICS_PORT must be a whole number from 0 to 65535"):
        Environment({"AMENDS_METRICS_PORT": value}).whole_number("AMENDS_METRICS_PORT", 9000, 0, 65_535)


def test_numbers_and_choices_have_defaults() -> None:
    assert Environment({}).whole_number("AMENDS_METRICS_PORT", 9000, 0, 65_535) == 9000
    assert Environment({"AMENDS_METRICS_PORT": "0"}).whole_number("AMENDS_METRICS_PORT", 9000, 0, 65_535) == 0
    assert Environment({}).choice("AMENDS_LOG_FORMAT", "text", ("text", "json")) == "text"
    assert (
        Environment({"AMENDS_LOG_FORMAT": "json"}).choice("AMENDS_LOG_FORMAT", "text", ("text", "json"))
        == "json"
    )


def test_another_choice_is_told_the_choices() -> None:
    with pytest.raises(InvalidSetting, match="AMENDS_LOG_FORMAT must be one of: text, json"):
        Environment({"AMENDS_LOG_FORMAT": "xml"}).choice("AMENDS_LOG_FORMAT", "text", ("text", "json"))


def test_the_process_s_own_variables_are_read_when_asked_not_at_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AMENDS_TOKEN", "now")

    assert Environment.of_this_process().text("AMENDS_TOKEN") == "now"
