"""Installing a server's programs on Debian and Ubuntu, without letting the system service start."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.servers import ServerUnavailable

_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_INSTALL_S: Final = 600.0


def can_install() -> bool:
    """Whether this is root on a system with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(package: str) -> None:
    """Install a package. Raises: ServerUnavailable with apt's own words."""
    with no_service_starts():
        for arguments in (("update",), ("install", "--yes", "--no-install-recommends", package)):
            ended = subprocess.run(
                ["apt-get", "--quiet", *arguments],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_INSTALL_S,
            )
            if ended.returncode:
                raise ServerUnavailable(
                    f"apt-get {arguments[0]} failed: {(ended.stderr or ended.stdout).strip()}"
                )


@contextmanager
def no_service_starts(policy: Path = _POLICY) -> Iterator[None]:
    """Debian asks /usr/sbin/policy-rc.d before a package starts its service; 101 means no. Restored afterwards."""
    aside = policy.with_name(f"{policy.name}.amends")
    stood = policy.exists() or policy.is_symlink()
    if stood:
        policy.rename(aside)
    try:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink(missing_ok=True)
        if stood:
            aside.rename(policy)
