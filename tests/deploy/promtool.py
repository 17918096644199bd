"""promtool, wherever it can be had: on the PATH, or taken out of Debian's package without installing that.

Unpacking needs no root, starts no service and leaves the system alone; the binary is kept in `build/tools`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.waiting import DEADLINE_S

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "tools" / "promtool"
MEND = (
    "promtool is needed to check deploy/prometheus and could not be had. Install it with "
    "`apt-get install --no-install-recommends prometheus` (Debian, Ubuntu), or put the promtool of "
    "https://prometheus.io/download/ on the PATH"
)


class PromtoolMissing(Exception):
    """promtool is not on this machine and could not be fetched; the message says what to do."""


def find_promtool() -> Path:
    """The promtool to use; fetched from the distribution's package archive where it is missing.

    Raises: PromtoolMissing.
    """
    on_path = shutil.which("promtool")
    if on_path is not None:
        return Path(on_path)
    if not KEPT.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise PromtoolMissing(MEND)
        fetch(KEPT)
    return KEPT


def fetch(target: Path) -> None:
    """Unpack promtool from the `prometheus` package to `target`, whole or not at all.

    Raises: PromtoolMissing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        workplace = Path(directory)
        package = _download(workplace)
        subprocess.run(
            ["dpkg-deb", "-x", str(package), str(workplace / "tree")], check=True, timeout=DEADLINE_S
        )
        os.replace(workplace / "tree" / "usr" / "bin" / "promtool", target)


def _download(workplace: Path) -> Path:
    """The package file. The machine's own package lists are tried first, then fresh ones of this run's own."""
    said = _apt_get(workplace, "download", "prometheus")
    if not _packages(workplace):
        for part in ("lists/partial", "archives/partial"):
            (workplace / part).mkdir(parents=True)
        own = [f"Dir::State::lists={workplace}/lists", f"Dir::Cache={workplace}", "APT::Sandbox::User="]
        options = [word for option in own for word in ("-o", option)]
        said += _apt_get(workplace, *options, "update")
        said += _apt_get(workplace, *options, "download", "prometheus")
    found = _packages(workplace)
    if not found:
        raise PromtoolMissing(f"{MEND}\napt-get said:\n{said}")
    return found[0]


def _packages(workplace: Path) -> list[Path]:
    return list(workplace.glob("prometheus_*.deb"))


def _apt_get(workplace: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["apt-get", "-qq", *arguments],
        cwd=workplace,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return run.stdout
