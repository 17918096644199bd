"""Waking a thread that waits for a socket, from another thread."""

from __future__ import annotations

import os
import threading


class Wakeup:
    """A flag with a file descriptor that is readable while the flag is set. Thread-safe.

    Between `close` and `open` it has no descriptor, and keeps the flag: a wake is never lost.
    """

    __slots__ = ("_is_set", "_lock", "_read_fd", "_write_fd")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._read_fd = self._write_fd = -1

    def open(self) -> int:
        """The descriptor to wait on."""
        with self._lock:
            if self._read_fd < 0:
                self._read_fd, self._write_fd = os.pipe()
                if self._is_set:
                    os.write(self._write_fd, b"\0")
            return self._read_fd

    def set(self) -> None:
        """Wake the waiting thread, or the next that waits."""
        with self._lock:
            if not self._is_set:
                self._is_set = True
                if self._write_fd >= 0:
                    os.write(self._write_fd, b"\0")

    def clear(self) -> None:
        """Take the flag back. Look for what was asked after this, not before."""
        with self._lock:
            if self._is_set:
                self._is_set = False
                if self._read_fd >= 0:
                    os.read(self._read_fd, 1)

    def close(self) -> None:
        """Give up the descriptor."""
        with self._lock:
            if self._read_fd >= 0:
                os.close(self._read_fd)
                os.close(self._write_fd)
                self._read_fd = self._write_fd = -1
