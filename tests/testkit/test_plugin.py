"""The pytest plugin as a project meets it: registered, light, nothing automatic, good beside xdist."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

_LOADED = """
import json, sys
import pytest
before = set(sys.modules)
import amends.testing.plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_loading_the_plugin_imports_next_to_nothing() -> None:
    """Guard: the imports inside the fixtures; every pytest run of a service's project pays for the others."""
    ended = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)

    assert json.loads(ended.stdout) == ["amends", "amends.testing", "amends.testing.plugin"]


def test_it_is_registered_and_nothing_is_automatic(pytester: pytest.Pytester) -> None:
    (entry,) = entry_points(group="pytest11", name="amends")
    assert entry.value == "amends.testing.plugin"
    pytester.makepyfile("def test_it(request): assert not [n for n in request.fixturenames if 'amends' in n]")

    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    listed = pytester.runpytest_subprocess("--fixtures", "-q")

    listed.stdout.fnmatch_lines(["amends_saga*"])
