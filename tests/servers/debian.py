"""Installing RabbitMQ's programs on Debian and Ubuntu, without letting the system service start."""

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


def install_rabbitmq() -> None:
    """Install `rabbitmq-server`. Raises: ServerUnavailable with apt's own words."""
    with _no_service_starts():
        for arguments in (("update",), ("install", "--yes", "--no-install-recommends", "rabbitmq-server")):
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
def _no_service_starts() -> Iterator[None]:
    """Debian asks /usr/sbin/policy-rc.d before a package starts its service; 101 means no. Restored afterwards."""
    aside = _POLICY.with_name("policy-rc.d.amends")
    stood = _POLICY.exists() or _POLICY.is_symlink()
    if stood:
        _POLICY.rename(aside)
    try:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
        if stood:
            aside.rename(_POLICY)
