"""What can go wrong with the servers that a developer's machine brings.

DevError
+-- ServerUnavailable  a server cannot be had or does not start; the message says what to do
+-- AlreadyRunning     another `amends dev` uses this state
"""

from __future__ import annotations


class DevError(Exception):
    """Any error of the dev package."""


class ServerUnavailable(DevError):
    """A server that is needed cannot be had; the message says what to do."""


class AlreadyRunning(DevError):
    """Another process holds this state."""
