"""What a test of the whole shows at work: `@covers(EachNode, "chunk")`; `test_all_is_covered.py` misses nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T", bound=Callable[..., Any])

COVERED: Final[dict[object, list[str]]] = {}  # a node's or an act's class, or an option's name -> tests


def covers(*what: object) -> Callable[[T], T]:
    """This test shows these nodes, acts and options at work."""

    def note(test: T) -> T:
        for one in what:
            COVERED.setdefault(one, []).append(test.__name__)
        return test

    return note
