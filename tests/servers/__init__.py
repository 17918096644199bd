"""Real servers for the tests: started when the first test needs one, gone when the run ends, however it ends."""

from __future__ import annotations


class ServerUnavailable(Exception):
    """A server the tests need cannot be had; the message says what to do."""
