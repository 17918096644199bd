"""The project's own sources, for the tests that read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("coordinator", "participants", "outbox", "db", "demo", "dev", "testing")


def sources(*folders: str) -> list[Path]:
    """Every Python file below these folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    """The name a source of one of our packages is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("amends", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a source imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
