"""The environment of the processes that the demo starts: the only module here that reads our own."""

from __future__ import annotations

import os


def child_environment(**settings: str) -> dict[str, str]:
    """Our environment with these settings and no others of amends."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AMENDS_")}
    return {**ours, **settings}
