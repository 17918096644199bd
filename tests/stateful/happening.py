"""How a rule is written: when it may come, what is drawn for it, and that everything is looked at after it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.stateful.run import Run

Rule = TypeVar("Rule", bound=Callable[..., None])

engine = st.integers(0, 1)
pick = st.integers(0, 999)
wish = st.sampled_from(["done", "done", "done", "refused", "failed", "unspent"])


def always(run: Run) -> bool:
    """At any time."""
    return True


def has_sagas(run: Run) -> bool:
    """Once a saga is there."""
    return bool(run.seen.sagas)


def has_news(run: Run) -> bool:
    """While something waits to be decided."""
    return bool(run.post.mail) or any(one.waiting for one in run.engines)


def happening(
    when: Callable[[Run], bool] = always, /, **given: st.SearchStrategy[Any]
) -> Callable[[Rule], Rule]:
    """A rule for a run that is so; after it everything is looked at."""

    def wrap(function: Rule) -> Rule:
        @functools.wraps(function)
        def run(self: Run, **drawn: Any) -> None:
            self.sound = False
            function(self, **drawn)
            self.look()
            self.sound = True

        return precondition(when)(rule(**given)(run))  # type: ignore[return-value]

    return wrap
