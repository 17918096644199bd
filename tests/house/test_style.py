"""Rules of style that a machine can keep."""

from __future__ import annotations

import ast

from tests.house.sources import PACKAGES, ROOT, sources

_LINES_MAX = 400
_VAGUE = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "impl", "base"}
_CLUTTER = ("Manager", "Impl", "Helper", "Util")
_ALL = (*PACKAGES, "tests", "examples", "bench")


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources(*_ALL)}

    assert [
        f"{path.relative_to(ROOT)}: {lines}" for path, lines in lengths.items() if lines > _LINES_MAX
    ] == []


def test_files_and_classes_are_called_by_what_they_do() -> None:
    files = [str(path.relative_to(ROOT)) for path in sources(*_ALL) if path.stem in _VAGUE]
    classes = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources(*_ALL)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith(_CLUTTER)
    ]

    assert files + classes == []


def test_every_module_says_what_it_is_for() -> None:
    trees = {path: ast.parse(path.read_text()) for path in sources(*PACKAGES)}

    assert [str(path) for path, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_no_promise_is_left_in_the_sources() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in sources(*_ALL)
        for word in words
        if word in path.read_text()
    ]

    assert found == []


def test_no_test_is_skipped() -> None:
    marks = ("mark." + "skip", "pytest." + "skip(", "mark." + "xfail", "import" + "orskip")
    found = [
        str(path.relative_to(ROOT))
        for path in sources("tests")
        if any(mark in path.read_text() for mark in marks)
    ]

    assert found == []
