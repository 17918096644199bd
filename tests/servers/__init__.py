"""Real servers for the tests: started when the first test needs one, gone when the run ends, however it ends."""

from __future__ import annotations

from amends.dev.errors import ServerUnavailable

__all__ = ["ServerUnavailable"]
