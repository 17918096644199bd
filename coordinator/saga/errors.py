"""What can go wrong in the saga language and the machine.

SagaError
+-- InvalidDefinition    a definition breaks a static rule; names every place and its mend
+-- ActRefused           an operator's act does not fit the saga's state; says why and what does
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
