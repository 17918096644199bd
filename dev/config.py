"""The environment that a server's programs need: the only module here that reads our own."""

from __future__ import annotations

import os


def search_path() -> str:
    """Where programs are looked for."""
    return os.environ["PATH"]
