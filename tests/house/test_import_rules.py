"""The import rules of the house, executed. The layers are import-linter's; here is what it cannot say."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.sources import PACKAGES, ROOT, imports, module_name, sources

# What the machine may use: types, and functions of their arguments alone.
_PURE = {"__future__", "collections.abc", "dataclasses", "enum", "functools", "hashlib", "itertools"}
_PURE |= {"json", "math", "re", "types", "typing", "uuid"}

# Where a process reads its variables, in whatever words.
_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}


def test_the_machine_imports_itself_and_types_alone() -> None:
    for path in sources("coordinator/saga"):
        for name in imports(ast.parse(path.read_text())):
            ours = name == "amends.coordinator.saga" or name.startswith("amends.coordinator.saga.")
            assert ours or name in _PURE, f"{path.relative_to(ROOT)} imports {name}"


def test_the_machine_makes_no_id_by_chance() -> None:
    """Of uuid it takes what follows from its arguments: a replay of the log gives the same."""
    for path in sources("coordinator/saga"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "uuid":
                assert {name.name for name in node.names} <= {"UUID", "uuid5"}, path.relative_to(ROOT)
            assert not (isinstance(node, ast.Import) and any(one.name == "uuid" for one in node.names))


def test_kombu_and_amqp_are_imported_by_the_amqp_drivers_alone() -> None:
    for path in sources(*PACKAGES):
        if path.parent == ROOT / "outbox/drivers" and path.name.startswith("amqp"):
            continue
        found = {name.partition(".")[0] for name in imports(ast.parse(path.read_text()))}
        assert not found & {"kombu", "amqp"}, path.relative_to(ROOT)


def test_the_environment_is_read_by_config_modules_alone() -> None:
    for path in sources(*PACKAGES):
        if path.name != "config.py":
            assert not list(_readings(ast.parse(path.read_text()))), path.relative_to(ROOT)


@pytest.mark.parametrize(
    "line",
    [
        "import os; os.environ['A']",
        "from os import environ",
        "import os as o; o.getenv('A')",
        "import click; click.option('--url', envvar='A')",
    ],
)
def test_reading_the_environment_is_noticed(line: str) -> None:
    assert list(_readings(ast.parse(line)))


def _readings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if name in _ENVIRONMENT:
                yield name
            case ast.ImportFrom(module="os", names=names):
                yield from (name.name for name in names if name.name in _ENVIRONMENT)
            case ast.keyword(arg="envvar" | "auto_envvar_prefix" as name):
                yield str(name)


_VIOLATIONS = {
    "outbox/message.py": (
        "import amends.coordinator.catalog",
        "amends.outbox.message -> amends.coordinator.catalog",
    ),
    "participants/errors.py": (
        "import amends.coordinator.errors",
        "amends.participants.errors -> amends.coordinator",
    ),
    "coordinator/saga/state.py": ("import time", "amends.coordinator.saga.state -> time"),
    "coordinator/catalog.py": ("import kombu", "amends.coordinator.catalog -> kombu"),
    "db/engines.py": ("import prometheus_client", "amends.db.engines -> prometheus_client"),
}


@pytest.mark.timeout(180)
def test_import_linter_breaks_on_each_kind_of_forbidden_import(tmp_path: Path) -> None:
    # A contract that names nothing that exists is kept for ever; so each is seen to break.
    (tmp_path / "amends").mkdir()
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / "amends" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, (line, _) in _VIOLATIONS.items():
        path = tmp_path / "amends" / file
        path.write_text(f"{path.read_text()}\n{line}\n")

    # The copy comes first on the path; the installed packages, links into this tree, do not shadow it.
    program = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()];"
        f"sys.path[:0] = [{str(tmp_path)!r}];"
        "from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )

    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "4 broken" in ended.stdout, ended.stdout
    said = " ".join(ended.stdout.split())
    for _, broken in _VIOLATIONS.values():
        assert broken in said, ended.stdout


_IMPORT_ALL = """
import importlib, os, sys
import kombu, sqlalchemy, tenacity, prometheus_client, msgspec, fastapi, uvicorn, httpx, click, rich, psycopg, alembic
import jsonschema_rs, django
from django.conf import settings
# A project without amends: the modules of its app are imported below, as any other.
settings.configure(INSTALLED_APPS=["django.contrib." + app for app in ("contenttypes", "auth", "messages", "admin")])
django.setup()
seen = []
def hook(event, arguments):
    if event.startswith(("socket.bind", "socket.connect", "subprocess.", "os.fork", "os.mkdir", "os.putenv",
                         "_thread.start", "signal.signal", "sqlite3.connect")):
        seen.append((event, repr(arguments)))
    elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen.append((event, repr(arguments)))
sys.dont_write_bytecode = True
sys.addaudithook(hook)
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert not seen, (name, seen)
"""


def test_nothing_happens_when_a_module_is_imported() -> None:
    # The two `env.py` are programs of Alembic's, not modules of ours.
    names = [module_name(path) for path in sources(*PACKAGES) if path.name not in ("env.py", "__main__.py")]
    names = [name for name in names if not name.split(".")[-1][0].isdigit()]

    ended = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, *names], capture_output=True, text=True, check=False, timeout=100
    )

    assert ended.returncode == 0, ended.stderr
