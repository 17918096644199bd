"""A picture as SVG, complete in itself: no script, no style from elsewhere, readable without colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, assert_never
from xml.sax.saxutils import escape

from amends.coordinator.draw.blocks import (
    CHARACTER,
    GAP,
    LINE,
    PADDING,
    Arrow,
    Border,
    Card,
    Dot,
    Shape,
    lay_out,
)
from amends.coordinator.draw.marks import SHADES, Mark, Shade
from amends.coordinator.draw.outline import Look, Part

MARGIN: Final = 24
HEAD: Final = 44
_FONT: Final = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_ARROW: Final = (
    '<defs><marker id="point" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
)


def svg(part: Part, heading: str, marks: Mapping[str, Mark] | None = None) -> str:
    """The picture of an outline; with `marks` that of a saga, and how far each step is."""
    block = lay_out(part, marks)
    width = max(block.width, CHARACTER * 1.2 * len(heading)) + 2 * MARGIN
    height = block.height + HEAD + 2 * MARGIN + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="{_FONT}" font-size="12">',
        f"<title>{_text(heading)}</title>",
        _ARROW,
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="{MARGIN + 10}" font-size="15" font-weight="bold">{_text(heading)}</text>',
        f'<g transform="translate({MARGIN},{MARGIN + HEAD - GAP / 2:g})">',
        *(line for shape in _back_to_front(block.shapes) for line in _drawn(shape)),
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _back_to_front(shapes: tuple[Shape, ...]) -> Iterator[Shape]:
    yield from (shape for shape in shapes if isinstance(shape, Border))
    yield from (shape for shape in shapes if not isinstance(shape, Border))


def _drawn(shape: Shape) -> Iterator[str]:
    match shape:
        case Card():
            yield from _card(shape)
        case Border():
            yield from _border(shape)
        case Arrow():
            path = " L".join(f"{x:g},{y:g}" for x, y in shape.points)
            yield f'<path d="M{path}" fill="none" stroke="#555" stroke-width="1.3" marker-end="url(#point)"/>'
        case Dot():
            fill = "#333" if shape.filled else "#fff"
            yield f'<circle cx="{shape.x:g}" cy="{shape.y:g}" r="6" fill="{fill}" stroke="#333" stroke-width="2"/>'
        case _:
            assert_never(shape)


def _card(card: Card) -> Iterator[str]:
    shade = card.mark.shade if card.mark is not None else None
    fill, line, _ = SHADES[shade] if shade is not None else ("#f7f9fc", "#3b4a5a", "")
    dashes = ' stroke-dasharray="4 3"' if shade is Shade.AHEAD else ""
    thick = "3" if shade is Shade.STUCK else "1.4"
    said = (*card.leaf.lines, *((card.mark.text,) if card.mark is not None else ()))
    yield f"<g><title>{_text(' / '.join((card.leaf.title, *said)))}</title>"
    yield (
        f'<rect x="{card.x:g}" y="{card.y:g}" width="{card.width:g}" height="{card.height:g}" rx="6" '
        f'fill="{fill}" stroke="{line}" stroke-width="{thick}"{dashes}/>'
    )
    x, y = card.x + PADDING, card.y + PADDING + 11
    room = int((card.width - 2 * PADDING) / CHARACTER)
    yield f'<text x="{x:g}" y="{y:g}" font-weight="bold">{_text(_cut(card.leaf.title, room))}</text>'
    for text in card.leaf.lines:
        y += LINE
        yield f'<text x="{x:g}" y="{y:g}" fill="#333">{_text(_cut(text, room))}</text>'
    for state in card.state:
        y += LINE
        yield f'<text x="{x:g}" y="{y:g}" fill="{line}" font-weight="bold">{_text(state)}</text>'
    yield "</g>"


def _border(border: Border) -> Iterator[str]:
    style = {
        Look.SIDE_BY_SIDE: 'fill="#fafafa" stroke="#999" stroke-dasharray="6 4"',
        Look.EACH: 'fill="#f4f8f4" stroke="#6a8a6a" stroke-width="2" stroke-dasharray="2 3"',
        Look.CHOICE: 'fill="#f7f5fb" stroke="#77679a"',
        Look.BRANCH: 'fill="#fff" stroke="#77679a" stroke-dasharray="4 3"',
        Look.PIVOT: 'fill="#fffdf3" stroke="#333" stroke-width="3"',
    }[border.look]
    yield (
        f'<rect x="{border.x:g}" y="{border.y:g}" width="{border.width:g}" height="{border.height:g}" rx="8" {style}>'
        f"<title>{_text(border.label)}</title></rect>"
    )
    room = int((border.width - 2 * PADDING) / CHARACTER)
    yield (
        f'<text x="{border.x + PADDING:g}" y="{border.y + 15:g}" font-style="italic" fill="#444">'
        f"{_text(_cut(border.label, room))}</text>"
    )


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(1, room - 1)] + "…"


def _text(text: str) -> str:
    """Text for XML, without the characters that it cannot hold."""
    return escape("".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text))
