"""What can go wrong in the saga language and the machine.

SagaError
+-- InvalidDefinition    a definition breaks a static rule; names every place and its mend
+-- ActRefused           an operator's act does not fit the saga's state; says why and what does

NotLoaded, which is no error: the machine asks for more of a saga of which only a part is at hand.
"""

from __future__ import annotations

from collections.abc import Iterable


class SagaError(Exception):
    """Any error of the saga package."""


class InvalidDefinition(SagaError):
    """A definition breaks static rules. `problems` lists each as `place: what is wrong; mend`."""

    def __init__(self, name: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            f"saga {name!r} is not valid:\n" + "\n".join(f"  - {problem}" for problem in self.problems)
        )


class ActRefused(SagaError):
    """An operator's act does not fit the saga as it stands; nothing changed."""


class NotLoaded(Exception):
    """Deciding this needs steps that are not at hand: add those of `paths` that exist to the saga, and ask again.

    With `open_too` all unsettled ones. Only for a saga that says `partial`; nothing has changed.
    """

    def __init__(self, paths: frozenset[str], *, open_too: bool = False) -> None:
        super().__init__(f"needs {len(paths)} more steps" + (" and all unsettled ones" if open_too else ""))
        self.paths = paths
        self.open_too = open_too
