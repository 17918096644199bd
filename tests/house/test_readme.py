"""What the README shows is what the repository has, and it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
SNIPPETS: Final = re.findall(r"<!-- snippet: (\S+) -->\n```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize(("path", "snippet"), SNIPPETS)
def test_a_snippet_is_the_file_it_names(path: str, snippet: str) -> None:
    _docstring, _, body = (ROOT / path).read_text().partition('"""\n\n')

    assert body == snippet


def test_the_definition_and_the_participant_stay_short() -> None:
    for path, snippet in SNIPPETS:
        lines = [line for line in snippet.splitlines() if line.strip()]
        assert len(lines) < 40, path


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
