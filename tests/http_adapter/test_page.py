"""What the page on the HTTP adapter shows."""

from __future__ import annotations

import re
from pathlib import Path

from amends.participants.http import participant_from_file

ROOT = Path(__file__).parents[2]


def test_the_declaration_on_the_page_is_the_examples() -> None:
    page = (ROOT / "docs/http-adapter.md").read_text()
    shown = re.search(r"^```toml\n(.*?)^```$", page, re.M | re.S)
    file = ROOT / "examples/http_adapter/billing.toml"

    assert shown is not None
    assert shown[1] == file.read_text()
    assert participant_from_file(file).name == "billing"
