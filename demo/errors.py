"""What can go wrong in the demo.

DemoError
+-- BadOrders        an orders file that cannot be used; names file, line and field
+-- DemoUnfinished   the orders did not all end in time, or a process died; tells what still ran
"""

from __future__ import annotations


class DemoError(Exception):
    """Any error of the demo."""


class BadOrders(DemoError):
    """An orders file that cannot be used."""

    def __init__(self, file: str, line: int, field: str, problem: str) -> None:
        where = f"{file}, line {line}" if line else file
        super().__init__(f"{where}: {field}: {problem}" if field else f"{where}: {problem}")
        self.line = line
        self.field = field


class DemoUnfinished(DemoError):
    """The demo gave up waiting, or one of its processes ended early."""
