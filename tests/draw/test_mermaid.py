"""The Mermaid text of a picture: every step once, what follows what, frames, states."""

from __future__ import annotations

import re

import pytest

from amends.coordinator.draw.marks import Mark, Shade
from amends.coordinator.draw.mermaid import mermaid
from amends.coordinator.draw.outline import Leaf, leaves
from tests.draw.pictures import SHAPES, part_of

NODE = re.compile(r'^\s*(n\d+)\["(.*)"\]$', re.M)
LINK = re.compile(r"^\s*(\w+) --> (\w+)", re.M)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_step_stands_once_and_every_frame_is_closed(shape: str) -> None:
    part = part_of(SHAPES[shape])

    text = mermaid(part, "shop v1")

    titles = [label.partition("<br/>")[0] for _, label in NODE.findall(text)]
    assert sorted(titles) == sorted(leaf.title for leaf in leaves(part))
    assert len(re.findall(r"^\s*subgraph ", text, re.M)) == len(re.findall(r"^\s*end$", text, re.M))
    assert text.startswith("flowchart TD\n")


def test_a_chain_is_linked_from_its_beginning_to_its_end() -> None:
    text = mermaid(part_of(SHAPES["long"]), "shop v1")

    names = {**{id_: label.partition("<br/>")[0] for id_, label in NODE.findall(text)}}
    following = dict(LINK.findall(text))
    walked, here = [], "begin"
    while here in following:
        here = following[here]
        walked.append(names.get(here, here))
    assert walked == [f"s{number}" for number in range(60)] + ["finish"]


def test_what_stands_side_by_side_is_broken_into_lines() -> None:
    text = mermaid(part_of(SHAPES["wide"]), "shop v1")

    assert len(re.findall("~~~", text)) == 53


def test_states_are_words_and_classes() -> None:
    part = part_of(SHAPES["three"])
    ids = [leaf.id for leaf in leaves(part)]

    text = mermaid(
        part, "shop v1, stuck", {ids[0]: Mark("done", Shade.DONE), ids[1]: Mark("stuck", Shade.STUCK)}
    )

    assert "✓ done" in text
    assert "! stuck" in text
    assert "· not begun" in text
    assert f"class n{ids[1]} stuck" in text
    assert "classDef stuck fill:" in text


def test_hostile_text_stays_inside_of_its_quotes() -> None:
    text = mermaid(Leaf("0", 'a"]\nclick n0 "javascript:x" #quot; <b>', ()), "shop v1")

    ((id_, label),) = NODE.findall(text)
    assert id_ == "n0"
    assert '"' not in label
    assert "<b>" not in label
    assert "\nclick" not in text
