"""docs/tutorial.md: its test runs with its own files, and its example's services are those it names."""

from __future__ import annotations

from examples.order import saga
from tests.docs.snippets import ROOT, snippets

PAGE = (ROOT / "docs" / "tutorial.md").read_text()


def test_the_tutorials_test_holds() -> None:
    (code,) = (one.code for one in snippets("docs/tutorial.md") if one.mark == "run by")
    namespace = {"Order": saga.Order, "place_order": saga.place_order}

    exec(compile(code, "tutorial.md", "exec"), namespace)


def test_the_tutorial_runs_what_is_there() -> None:
    for name in ("payments", "inventory", "shipping"):
        assert f"examples.order.{name}:{name}" in PAGE
        assert (ROOT / "examples" / "order" / f"{name}.py").exists()
