"""A picture as Mermaid text: a flowchart, to be pasted where Mermaid is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, assert_never

from amends.coordinator.draw.marks import AHEAD, SHADES, Mark
from amends.coordinator.draw.outline import Frame, Leaf, Part, Row, leaves

ABREAST: Final = 5
_INDENT: Final = "    "
_ENTITIES: Final = str.maketrans(
    {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "\\": "#92;"}
)


def mermaid(part: Part, heading: str, marks: Mapping[str, Mark] | None = None) -> str:
    """The picture of an outline; with `marks` that of a saga, and how far each step is."""
    lines = ["flowchart TD", f'{_INDENT}begin(["{_text(heading)}"])', *_drawn(part, marks, _INDENT)]
    first, last = _ends(part)
    lines += [f"{_INDENT}begin --> {first}", f'{_INDENT}{last} --> finish(["end"])']
    if marks is not None:
        lines += _classes(part, marks)
    return "\n".join(lines) + "\n"


def _drawn(part: Part, marks: Mapping[str, Mark] | None, indent: str) -> Iterator[str]:
    match part:
        case Leaf():
            said = [part.title, *part.lines]
            if marks is not None:
                mark = marks.get(part.id, AHEAD)
                said.append(f"{SHADES[mark.shade][2]} {mark.text}")
            yield f'{indent}{_id(part)}["{"<br/>".join(map(_text, said))}"]'
        case Row():
            for one in part.parts:
                yield from _drawn(one, marks, indent)
            for before, after in zip(part.parts, part.parts[1:], strict=False):
                yield f"{indent}{_ends(before)[1]} --> {_ends(after)[0]}"
        case Frame():
            yield f'{indent}subgraph {_id(part)}["{_text(part.label)}"]'
            yield f"{indent}{_INDENT}direction TB"
            for one in part.parts:
                yield from _drawn(one, marks, indent + _INDENT)
            # What nothing connects would stand in one endless line: invisible links break it.
            for above, below in zip(part.parts, part.parts[ABREAST:], strict=False):
                yield f"{indent}{_INDENT}{_ends(above)[1]} ~~~ {_ends(below)[0]}"
            yield f"{indent}end"
        case _:
            assert_never(part)


def _ends(part: Part) -> tuple[str, str]:
    """Where arrows to this part end, and where those from it begin."""
    if isinstance(part, Row):
        return _ends(part.parts[0])[0], _ends(part.parts[-1])[1]
    return _id(part), _id(part)


def _id(part: Leaf | Frame) -> str:
    return f"n{part.id}"


def _classes(part: Part, marks: Mapping[str, Mark]) -> Iterator[str]:
    used: dict[str, list[str]] = {}
    for leaf in leaves(part):
        used.setdefault(marks.get(leaf.id, AHEAD).shade.value, []).append(_id(leaf))
    for shade, (fill, line, _) in SHADES.items():
        if shade.value in used:
            yield f"{_INDENT}classDef {shade.value} fill:{fill},stroke:{line},color:#111"
            yield f"{_INDENT}class {','.join(used[shade.value])} {shade.value}"


def _text(text: str) -> str:
    """Text inside of Mermaid's quotes."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text).translate(
        _ENTITIES
    )
