"""PostgreSQL's programs on disk, and making them reachable for the user that runs them."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder with `postgres`, `initdb` and their friends.

    They find their libraries and data by relative paths: `parts`, below `root`, is all they need to be whole.
    """

    folder: Path
    root: Path
    parts: tuple[Path, ...]

    def reachable(self, user: pwd.struct_passwd | None, directory: Path) -> Path:
        """The folder, or, where another user may not enter it, its like in a copy of all parts in `directory`.

        Opening the original to others would open every folder above it too, a home directory perhaps.
        """
        if user is None or all(_readable_by_all(path) for path in (*self.parts, self.folder / "postgres")):
            return self.folder
        copy = directory / "postgresql"
        for part in self.parts:
            shutil.copytree(part, copy / part.relative_to(self.root), symlinks=True)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o055 if path.is_dir() or mode & stat.S_IXUSR else 0o044))
        return copy / self.folder.relative_to(self.root)


def enterable_by_all(directory: Path) -> bool:
    """Whether every user may walk to this directory."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (directory, *directory.parents))


def _readable_by_all(path: Path) -> bool:
    return enterable_by_all(path) and bool(os.stat(path).st_mode & stat.S_IROTH)
