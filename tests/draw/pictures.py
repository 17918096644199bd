"""Definitions of every shape, and what stands in their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from amends.coordinator import (
    Saga,
    arg,
    call,
    chain,
    choose,
    each,
    emit,
    group,
    item,
    pivot,
    sleep,
    step,
    wait,
)
from amends.coordinator.draw.blocks import LEAF_WIDTH
from amends.coordinator.draw.outline import Part, outline

_SVG: Final = "{http://www.w3.org/2000/svg}"


def reserve(name: str) -> object:
    return step(name, to="inventory", undo=f"release-{name}")


SHAPES: Final = {
    "one": reserve("a"),
    "three": chain(reserve("a"), pivot(step("b", to="shipping")), step("c", to="mail")),
    "long": chain(*(reserve(f"s{number}") for number in range(60))),
    "wide": chain(reserve("first"), group(*(reserve(f"s{number}") for number in range(58))), reserve("last")),
    "nested": chain(
        *(
            chain(
                reserve(f"a{number}"),
                group(
                    chain(reserve(f"b{number}"), reserve(f"c{number}")),
                    chain(reserve(f"d{number}"), group(reserve(f"e{number}"), reserve(f"f{number}"))),
                ),
            )
            for number in range(10)
        )
    ),
    "everything": chain(
        each(arg.lines, step("reserve", to="inventory", undo="release", args=item), at_most=20, chunk=50),
        choose(
            ((arg.total > 100) & ~arg.gift.exists(), wait("approved", timeout="2h", on_timeout="continue")),
            (arg.country == "NO", call("customs")),
            otherwise=sleep("1m"),
        ),
        emit("ordered", undo=None),
        step("hold", to="payments", undo="void", confirm="capture"),
    ),
    "long-in-group": group(
        chain(*(reserve(f"a{number}") for number in range(40))), reserve("b"), reserve("c")
    ),
}


def part_of(root: object) -> Part:
    """The outline of a definition with this root."""
    return outline(Saga("shop", root, version=1).definition.plan.root)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Box:
    """A step's box, with all its text."""

    x: float
    y: float
    width: float
    height: float
    texts: tuple[str, ...]

    def meets(self, other: Box) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True)
class Drawn:
    """An SVG picture taken apart. `arrows` are the ends of each line."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[float, float], ...]


def taken_apart(svg: str) -> Drawn:
    """What stands where in an SVG picture; the texts of a box must fit into it."""
    root = ElementTree.fromstring(svg)
    inner = root.find(f"{_SVG}g")
    assert inner is not None
    boxes = []
    for card in inner.findall(f"{_SVG}g"):
        rect = card.find(f"{_SVG}rect")
        assert rect is not None
        x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        texts = card.findall(f"{_SVG}text")
        for text in texts:
            assert len(text.text or "") * 7.3 <= LEAF_WIDTH - 10, f"too wide: {text.text}"
            assert y < float(text.attrib["y"]) < y + height
        boxes.append(Box(x, y, width, height, tuple(text.text or "" for text in texts)))
    ends = []
    for path in inner.findall(f"{_SVG}path"):
        last = path.attrib["d"].rpartition("L")[2]
        end = tuple(float(number) for number in last.split(","))
        ends.append((end[0], end[1]))
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    return Drawn(width, height, tuple(boxes), tuple(ends))
