"""The Python that pages show is what the repository has, and it runs."""

from __future__ import annotations

import linecache

import pytest

from tests.docs.snippets import ROOT, Snippet, pages, shown, snippets

ALL = [snippet for page in pages() for snippet in snippets(page)]
RUN = {page: [one for one in snippets(page) if not one.mark] for page in pages()}


def where(snippet: Snippet) -> str:
    return f"{snippet.page}:{snippet.line}"


@pytest.mark.parametrize("snippet", [one for one in ALL if one.mark == "snippet"], ids=where)
def test_a_snippet_is_what_its_file_has(snippet: Snippet) -> None:
    assert snippet.code == shown(snippet.said)


def test_a_test_that_runs_snippets_reads_their_page() -> None:
    marked = [one for one in ALL if one.mark == "run by"]

    assert [
        where(one) for one in marked if one.page.removeprefix("docs/") not in (ROOT / one.said).read_text()
    ] == []


def test_what_is_not_run_at_least_compiles() -> None:
    for one in ALL:
        compile(one.code, where(one), "exec")


@pytest.mark.parametrize("page", [page for page, found in RUN.items() if found])
def test_the_snippets_of_a_page_run_one_after_another(page: str) -> None:
    namespace: dict[str, object] = {"__name__": f"page {page}"}
    for snippet in RUN[page]:
        name = f"<{where(snippet)}>"
        # Who looks up the source of a function, to read its annotations, finds it.
        linecache.cache[name] = (len(snippet.code), None, snippet.code.splitlines(keepends=True), name)
        exec(compile(snippet.code, name, "exec"), namespace)
