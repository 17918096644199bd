"""PromQL as far as the tests read it: which metrics an expression names, with which labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_STRING: Final = re.compile(r'"(?:\\.|[^"\\])*"')
_SELECTOR: Final = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\})?")
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_MATCHER: Final = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)")
_RANGE: Final = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_WORDS: Final = frozenset({"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "inf", "nan"})


@dataclass(frozen=True, slots=True)
class Selected:
    """One selector: a metric, and the labels its matchers name."""

    metric: str
    labels: frozenset[str]


def selectors(expression: str) -> list[Selected]:
    """Every selector of an expression. A word before a parenthesis is a function or an aggregation."""
    plain = _RANGE.sub("", _GROUPING.sub("", _STRING.sub('""', expression)))
    found = []
    for match in _SELECTOR.finditer(plain):
        name, matchers = match[1], match[2] or ""
        calls = plain[match.end() :].lstrip().startswith("(") and match[2] is None
        within_matchers = plain[: match.start()].count("{") > plain[: match.start()].count("}")
        if calls or within_matchers or name.lower() in _WORDS:
            continue
        found.append(Selected(name, frozenset(_MATCHER.findall(matchers))))
    return found


def grouped_by(expression: str) -> set[str]:
    """Every label that an aggregation or a vector match names."""
    plain = _STRING.sub('""', expression)
    return {
        label.strip() for match in _GROUPING.finditer(plain) for label in match[1].split(",") if label.strip()
    }
