"""Installing a server's programs on Debian and Ubuntu, without letting the system service start."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.servers import ServerUnavailable

_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_NO_STARTS: Final = "#!/bin/sh\n# No service starts while amends's tests install a server.\nexit 101\n"
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
def one_at_a_time(directory: Path = _POLICY.parent) -> Iterator[None]:
    """Wait until no other process is in here, on this machine: a run's processes all find that a server is missing.

    The lock is on a directory that is there anyway, so nothing is left; it ends with the process that holds it.
    """
    held = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


@contextmanager
def no_service_starts(policy: Path = _POLICY) -> Iterator[None]:
    """Debian asks /usr/sbin/policy-rc.d before a package starts its service; 101 means no. Restored afterwards."""
    aside = policy.with_name(f"{policy.name}.amends")
    if policy.is_file() and policy.read_text() == _NO_STARTS:
        policy.unlink()  # Ours, from a run that was killed: what stood before it is still aside.
        if aside.exists() or aside.is_symlink():
            aside.rename(policy)
    stood = policy.exists() or policy.is_symlink()
    if stood:
        policy.rename(aside)
    try:
        policy.write_text(_NO_STARTS)
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink(missing_ok=True)
        if stood:
            aside.rename(policy)
