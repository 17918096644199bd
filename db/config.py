"""Settings from the environment, checked when they are read: the only module of this package that reads it.

Every setting may also come as `NAME_FILE`, the path of a file that holds the value: the way to hand over secrets.
A bad value stops the start with the variable's name and what it may be; the value itself is never repeated.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amends.db.engines import database_url
from amends.db.errors import InvalidSetting, UnsupportedDatabase


@dataclass(frozen=True, slots=True)
class Environment:
    """Variables by name, and how they are read. An empty variable counts as unset."""

    values: Mapping[str, str]

    @classmethod
    def of_this_process(cls) -> Environment:
        """A copy of the process's own variables."""
        return cls(dict(os.environ))

    def text(self, name: str) -> str | None:
        """The variable, or the contents of the file that `NAME_FILE` names; None if neither is set.

        Raises: InvalidSetting if both are set, or the file cannot be read or is empty.
        """
        value, path = self.values.get(name, "").strip(), self.values.get(f"{name}_FILE", "")
        if not path:
            return value or None
        if value:
            raise InvalidSetting(name, f"and {name}_FILE are both set; keep one")
        try:
            value = Path(path).read_text("utf-8").strip()
        except OSError as error:
            raise InvalidSetting(f"{name}_FILE", f"cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise InvalidSetting(f"{name}_FILE", f"{path} is not UTF-8 text") from None
        if not value:
            raise InvalidSetting(f"{name}_FILE", f"{path} is empty")
        return value

    def required(self, name: str, example: str) -> str:
        """As `text`. Raises: InvalidSetting, with the example, if it is not set."""
        value = self.text(name)
        if value is None:
            raise InvalidSetting(name, f"is not set; set it, or {name}_FILE, to something like {example}")
        return value

    def whole_number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number from `least` to `most`. Raises: InvalidSetting."""
        value = self.text(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit() and least <= int(value) <= most):
            raise InvalidSetting(name, f"must be a whole number from {least} to {most}")
        return int(value)

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """One of the allowed words. Raises: InvalidSetting."""
        value = self.text(name)
        if value is not None and value not in allowed:
            raise InvalidSetting(name, f"must be one of: {', '.join(allowed)}")
        return value or default

    def database_url(self, name: str = "AMENDS_DATABASE_URL") -> str:
        """A database amends can use. Raises: InvalidSetting."""
        value = self.required(name, "postgresql+psycopg://user:password@host/name")
        try:
            return database_url(value).render_as_string(hide_password=False)
        except UnsupportedDatabase as error:
            raise InvalidSetting(name, str(error)) from None
