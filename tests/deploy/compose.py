"""docker-compose.yml as it is read by the tests: its services, with anchors and merges resolved."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "docker-compose.yml"
SECRETS_INSIDE: Final = "/run/secrets/"
IMAGE: Final = "amends:"
# Where the image's entry point begins, from the Dockerfile; a service may bring its own.
ENTRYPOINT: Final = ("amends",)


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the file."""

    name: str
    raw: Mapping[str, Any]

    @property
    def ours(self) -> bool:
        """It runs the image that is built from the Dockerfile."""
        return str(self.raw["image"]).startswith(IMAGE)

    @property
    def words(self) -> tuple[str, ...]:
        """The whole command line that runs in the container: entry point, then command."""
        return (*self.raw.get("entrypoint", ENTRYPOINT), *self.raw.get("command", ()))

    @property
    def environment(self) -> dict[str, str]:
        """Its variables."""
        return dict(self.raw.get("environment", {}))

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets it gets: where each is seen inside, and its name."""
        seen: dict[str, str] = {}
        for entry in self.raw.get("secrets", ()):
            if isinstance(entry, str):
                seen[SECRETS_INSIDE + entry] = entry
            else:
                target = str(entry.get("target", entry["source"]))
                seen[target if target.startswith("/") else SECRETS_INSIDE + target] = entry["source"]
        return seen

    @property
    def ends(self) -> bool:
        """A job: it does something once and ends."""
        return self.raw.get("restart") in ("on-failure", "no")

    @property
    def depends_on(self) -> dict[str, str]:
        """Whom it waits for, and until when."""
        return {name: how["condition"] for name, how in self.raw.get("depends_on", {}).items()}


def load() -> dict[str, Any]:
    """The whole file; a value of the caller's own."""
    return deepcopy(_parsed())


@cache
def _parsed() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    return content


def services() -> dict[str, Service]:
    """Every service by its name."""
    return {name: Service(name, raw) for name, raw in load()["services"].items()}


def our_services() -> list[Service]:
    """Those that run amends."""
    return [service for service in services().values() if service.ours]
