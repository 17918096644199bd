"""What can be wrong with a test itself. Each is an AssertionError: pytest shows it as a failure, with its mend.

TestKitError
+-- UnknownStep     a script names a step that the saga has not; names those it has
+-- NotAwaited      a step is answered that nothing was asked of; says what is asked
+-- WrongAnswer     an answer that nobody gives to what was asked, or a value that is no answer
+-- NotServed       a command, a participant or a database that the test has not named
+-- CrashFound      a handler does not stand every crash, copy and order; holds the shortest run that shows it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class TestKitError(AssertionError):
    """Any error of the test kit."""

    __test__ = False  # It is no test class, though its name begins like one's.


class UnknownStep(TestKitError):
    """A script names a step that the saga has not."""

    def __init__(self, what: str, name: str, saga: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, 1)
        mend = f"; did you mean {near[0]!r}?" if near else ""
        super().__init__(f"saga {saga!r} has no {what} {name!r}; it has {', '.join(names) or 'none'}{mend}")


class NotAwaited(TestKitError):
    """A step is answered that nothing was asked of."""


class WrongAnswer(TestKitError):
    """An answer that nobody gives to what was asked, or a value that is no answer."""


class NotServed(TestKitError):
    """A command, a participant or a database that the test has not named."""


class CrashFound(TestKitError):
    """A handler does not stand every crash, copy and order. `run` is the shortest run that shows it."""

    def __init__(self, saga: str, problem: str, run: Sequence[str], runs: int) -> None:
        lines = "\n".join(f"    {number:>2}  {line}" for number, line in enumerate(run, 1))
        super().__init__(f"{saga}: {problem}. The shortest of {runs} runs:\n{lines}\n        => {problem}")
        self.problem = problem
        self.run = tuple(run)
