"""The participant of examples/pika_participant is written from the protocol's page alone."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parents[2] / "examples" / "pika_participant"


@pytest.mark.parametrize("name", ["payments.py", "barrier.py"])
def test_it_imports_nothing_of_amends(name: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse((HERE / name).read_text())):
        if isinstance(node, ast.Import):
            imported |= {one.name.split(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])

    assert "amends" not in imported
    assert imported & {"pika", "psycopg"}
