"""The Python that pages show: from a file, run here, run by a test of its own, or not run for a reason that is told.

A mark stands in the line before a fence:

    <!-- snippet: examples/order/saga.py -->           the fence is this file, without its docstring
    <!-- snippet: examples/order/payments.py#charge --> the fence is this function, class or assignment of it
    <!-- run by: tests/django/test_page.py -->         this test runs it
    <!-- not run: why not -->

All other fences of a page are run, one after another in one namespace.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_FENCE: Final = re.compile(
    r"(?:^<!-- (snippet|run by|not run): (.*?) -->\n)?^```python\n(.*?)^```$", re.M | re.S
)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fence of Python: `mark` is snippet, "run by", "not run" or empty, `said` what the mark says."""

    page: str
    line: int
    mark: str
    said: str
    code: str


def pages() -> list[str]:
    """Every page, by its path in the repository, sorted."""
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("README.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def snippets(page: str) -> list[Snippet]:
    """The fences of Python of a page, in their order."""
    text = (ROOT / page).read_text()
    return [
        Snippet(page, text[: found.start(3)].count("\n") + 1, found[1] or "", found[2] or "", found[3])
        for found in _FENCE.finditer(text)
    ]


def shown(said: str) -> str:
    """What a snippet of this name must be. Raises: LookupError if the file has no such thing."""
    path, _, name = said.partition("#")
    text = (ROOT / path).read_text()
    if not name:
        return text.partition('"""\n\n')[2] if text.startswith('"""') else text
    for node in ast.parse(text).body:
        if name in _names(node):
            lines = text.splitlines()
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(one.lineno for one in decorators)])
            return "\n".join(lines[first - 1 : node.end_lineno]) + "\n"
    raise LookupError(f"{path} has no {name} at its top")


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {one.id for one in node.targets if isinstance(one, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()
