"""The rules together: everything that may happen to engines, in any order, and the end that every run must come to."""

from __future__ import annotations

from hypothesis import note

from tests.stateful.ending import Ending
from tests.stateful.everyday import Everyday
from tests.stateful.misfortune import Misfortune


class EngineMachine(Everyday, Misfortune):
    """One run, with all its rules."""

    def teardown(self) -> None:
        """Everything heals, drains, and ends."""
        if self.sound:
            note("the end")
            Ending(self).comes()
        for one in self.engines:
            one.dies()
