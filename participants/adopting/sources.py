"""A project's Python files, read by their syntax and changed by place: what a person wrote stays as it was written."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Final

from amends.participants.errors import ParticipantError

_NOT_SOURCES: Final = {"venv", "env", "node_modules", "build", "dist", "site-packages", "migrations"}
_FILES_MAX: Final = 5_000


class NotAdoptable(ParticipantError):
    """The project is not as this command knows such projects; the message says what to do by hand."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file before and after; `before` is None of a new one."""

    path: Path
    before: str | None
    after: str

    def patch(self, root: Path) -> str:
        """As `git apply` takes it, with paths from `root`."""
        name = self.path.relative_to(root).as_posix()
        old = "/dev/null" if self.before is None else f"a/{name}"
        head = f"diff --git a/{name} b/{name}\n" + ("new file mode 100644\n" if self.before is None else "")
        before = [] if self.before is None else self.before.splitlines(keepends=True)
        lines = unified_diff(before, self.after.splitlines(keepends=True), old, f"b/{name}")
        return head + "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
        )


class Source:
    """One file that changes, by places in it as it was read."""

    def __init__(self, path: Path) -> None:
        """Raises: NotAdoptable if it cannot be read as Python."""
        self.path = path
        try:
            self.text = path.read_text("utf-8")
            self.tree = ast.parse(self.text)
        except (SyntaxError, UnicodeDecodeError) as error:
            raise NotAdoptable(f"{path} cannot be read as Python: {error}") from error
        self._inserts: list[tuple[int, int, str]] = []
        starts, at = [0], 0
        for line in self.text.splitlines(keepends=True):
            at += len(line)
            starts.append(at)
        self._starts = starts

    def at(self, line: int, column_bytes: int) -> int:
        """The place in the text of a line (from 1) and a column as `ast` counts it."""
        start = self._starts[line - 1]
        row = self.text[start : self._starts[line]].encode()
        return start + len(row[:column_bytes].decode())

    def replace(self, start: int, end: int, text: str) -> None:
        """Let `text` stand where start to end was."""
        self._inserts.append((start, end, text))

    def import_line(self, line: str) -> None:
        """Add an import after the others, unless it is there."""
        if line in self.text.splitlines():
            return
        imports = [node for node in self.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        body = self.tree.body
        has_docstring = (
            bool(body) and isinstance(body[0], ast.Expr) and ast.get_docstring(self.tree) is not None
        )
        after = imports[-1] if imports else body[0] if has_docstring else None
        place = 0 if after is None or after.end_lineno is None else self._starts[after.end_lineno]
        self.replace(place, place, f"{line}\n" if imports or place == 0 else f"\n{line}\n")

    def change(self) -> Change:
        """What became of it."""
        text = self.text
        for start, end, new in sorted(self._inserts, key=lambda one: one[0], reverse=True):
            text = text[:start] + new + text[end:]
        return Change(self.path, self.text, text)


def python_files(root: Path) -> Iterator[Path]:
    """The project's own Python files, in the order of their names."""
    seen = 0
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in _NOT_SOURCES)
        for file in sorted(files):
            if file.endswith(".py"):
                seen += 1
                if seen > _FILES_MAX:
                    return
                yield Path(folder) / file


def calls(tree: ast.Module, name: str) -> Iterator[tuple[ast.Assign, ast.Call, str]]:
    """Assignments at the top of `x = Name(...)` or `x = module.Name(...)`, with the variable's name."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            called = node.value.func
            found = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            target = node.targets[0]
            if found == name and isinstance(target, ast.Name):
                yield node, node.value, target.id


def module_of(path: Path, root: Path) -> str:
    """The name by which a file of the project is imported, run from `root`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
