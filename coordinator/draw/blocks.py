"""The layout: an outline becomes shapes with places. Lengths are pixels; y grows downwards.

A saga is a tree of chains and frames, so its picture needs no general graph layout: a row runs downwards and goes on
in the next column where it gets too long; what stands side by side in a frame is broken into lines like words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from textwrap import wrap
from typing import Final, TypeAlias, assert_never

from amends.coordinator.draw.marks import AHEAD, SHADES, Mark
from amends.coordinator.draw.outline import Frame, Leaf, Look, Part, Row

LEAF_WIDTH: Final = 236
CHARACTER: Final = 7.3  # A monospaced character of 12 px is about so wide; text that is too long is cut.
STATE_LINES_MAX: Final = 3
LINE: Final = 16
PADDING: Final = 10
GAP: Final = 26  # between what follows each other, with an arrow in it
GUTTER: Final = 40  # between columns
LABEL: Final = 22
LEAF_HEIGHT: Final = 2 * PADDING + 4 * LINE  # of most
COLUMN_MAX: Final = 900
PROPORTION: Final = 1.6  # width to height
WIDTH_MAX: Final = 1_100


@dataclass(frozen=True, slots=True)
class Card:
    """A leaf's box. Its mark is None in the picture of a definition; `state` is its text in lines that fit."""

    x: float
    y: float
    width: float
    height: float
    leaf: Leaf
    mark: Mark | None
    state: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Border:
    """A frame's box."""

    x: float
    y: float
    width: float
    height: float
    label: str
    look: Look


@dataclass(frozen=True, slots=True)
class Arrow:
    """A line with a point at its end."""

    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """Where the saga begins (`filled`) or ends."""

    x: float
    y: float
    filled: bool


Shape: TypeAlias = Card | Border | Arrow | Dot


@dataclass(frozen=True, slots=True)
class Block:
    """Shapes in a box of their own; one comes in at the top at `way_in` and leaves at the bottom at `way_out`."""

    width: float
    height: float
    way_in: float
    way_out: float
    shapes: tuple[Shape, ...]


def lay_out(part: Part, marks: Mapping[str, Mark] | None) -> Block:
    """The whole picture: the outline between a beginning and an end, which stand in line with the outermost row."""
    begin, end = (Block(14, 14, 7, 7, (Dot(7, 7, filled),)) for filled in (True, False))
    parts = part.parts if isinstance(part, Row) else (part,)
    return _columns([begin, *(_block(one, marks) for one in parts), end], goes_on=False)


def _block(part: Part, marks: Mapping[str, Mark] | None) -> Block:
    match part:
        case Leaf():
            mark = marks.get(part.id, AHEAD) if marks is not None else None
            state = () if mark is None else _lines(f"{SHADES[mark.shade][2]} {mark.text}")
            height = 2 * PADDING + LINE * (1 + len(part.lines) + len(state))
            card = Card(0, 0, LEAF_WIDTH, height, part, mark, state)
            return Block(LEAF_WIDTH, height, LEAF_WIDTH / 2, LEAF_WIDTH / 2, (card,))
        case Row():
            return _columns([_block(one, marks) for one in part.parts])
        case Frame():
            return _framed(part, [_block(one, marks) for one in part.parts])
        case _:
            assert_never(part)


def _lines(text: str) -> tuple[str, ...]:
    """A state in lines that fit into a leaf's box; what is more than most have is left to its title."""
    room = int((LEAF_WIDTH - 2 * PADDING) / CHARACTER)
    return tuple(wrap(text, room, max_lines=STATE_LINES_MAX, placeholder=" …"))


def _framed(frame: Frame, blocks: Sequence[Block]) -> Block:
    lines: list[list[Block]] = [[]]
    for block in blocks:
        if lines[-1] and sum(one.width + PADDING for one in lines[-1]) + block.width > WIDTH_MAX:
            lines.append([])
        lines[-1].append(block)
    shapes: list[Shape] = []
    y: float = LABEL
    inner = max(sum(one.width + PADDING for one in line) - PADDING for line in lines)
    inner = max(inner, min(8.0 * len(frame.label), WIDTH_MAX / 2))
    for line in lines:
        x = PADDING + (inner - sum(one.width + PADDING for one in line) + PADDING) / 2
        for block in line:
            shapes += _moved(block.shapes, x, y)
            x += block.width + PADDING
        y += max(one.height for one in line) + PADDING
    width = inner + 2 * PADDING
    border = Border(0, 0, width, y, frame.label, frame.look)
    return Block(width, y, width / 2, width / 2, (border, *shapes))


def _columns(blocks: Sequence[Block], *, goes_on: bool = True) -> Block:
    """One under the other, in several columns where one would be too long. `goes_on`: something comes after it."""
    laid = [_column(column) for column in _divided(blocks)]
    shapes: list[Shape] = []
    x = 0.0
    bottom = max(one.height for one in laid)
    end: tuple[float, float] | None = None
    for column in laid:
        shapes += _moved(column.shapes, x, 0)
        if end is not None:
            shapes.append(_over(end, (x + column.way_in, 0), x - GUTTER / 2, bottom))
        end = (x + column.way_out, column.height)
        x += column.width + GUTTER
    assert end is not None  # A row has parts.
    if goes_on and end[1] < bottom:
        shapes.append(Arrow((end, (end[0], bottom))))
    return Block(x - GUTTER, bottom, laid[0].way_in, end[0], tuple(shapes))


def _divided(blocks: Sequence[Block]) -> list[list[Block]]:
    """The blocks of each column: so many that the whole is wider than high; a short rest gets no column of its own."""
    rest = total = sum(block.height + GAP for block in blocks)
    widest = max(block.width for block in blocks) + GUTTER
    tallest = max(block.height for block in blocks)
    limit = max(COLUMN_MAX, sqrt(total * widest / PROPORTION), tallest + 3 * LEAF_HEIGHT)
    columns: list[list[Block]] = [[]]
    height = 0.0
    for block in blocks:
        if columns[-1] and height + block.height > limit and rest > limit / 4:
            columns.append([])
            height = 0.0
        columns[-1].append(block)
        height += block.height + GAP
        rest -= block.height + GAP
    return columns


def _column(blocks: Sequence[Block]) -> Block:
    axis = max(max(block.way_in, block.way_out) for block in blocks)
    width = axis + max(block.width - min(block.way_in, block.width) for block in blocks)
    shapes: list[Shape] = []
    y = 0.0
    end: tuple[float, float] | None = None
    for block in blocks:
        x = axis - block.way_in
        if end is not None:
            shapes.append(_down(end, (axis, y)))
        shapes += _moved(block.shapes, x, y)
        end = (x + block.way_out, y + block.height)
        y += block.height + GAP
    assert end is not None  # A row has parts.
    return Block(width, y - GAP, axis, end[0], tuple(shapes))


def _down(start: tuple[float, float], end: tuple[float, float]) -> Arrow:
    if start[0] == end[0]:
        return Arrow((start, end))
    middle = (start[1] + end[1]) / 2
    return Arrow((start, (start[0], middle), (end[0], middle), end))


def _over(start: tuple[float, float], end: tuple[float, float], gutter: float, bottom: float) -> Arrow:
    """From the end of a column, up through the gutter, to the top of the next."""
    low, high = bottom + GAP / 2, end[1] - GAP / 2
    return Arrow((start, (start[0], low), (gutter, low), (gutter, high), (end[0], high), end))


def _moved(shapes: Sequence[Shape], dx: float, dy: float) -> list[Shape]:
    return [
        Arrow(tuple((x + dx, y + dy) for x, y in shape.points))
        if isinstance(shape, Arrow)
        else replace(shape, x=shape.x + dx, y=shape.y + dy)
        for shape in shapes
    ]
