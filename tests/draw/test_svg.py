"""A picture shows every step once, legible, in its place, with three steps and with sixty."""

from __future__ import annotations

from itertools import combinations

import pytest

from amends.coordinator import arg, call, chain, choose, step
from amends.coordinator.draw.marks import Mark, Shade, marks
from amends.coordinator.draw.outline import Leaf, leaves
from amends.coordinator.draw.svg import svg
from amends.coordinator.records import StateCount
from tests.draw.pictures import SHAPES, part_of, taken_apart


@pytest.mark.parametrize("shape", SHAPES)
def test_every_step_is_drawn_once_and_none_covers_another(shape: str) -> None:
    part = part_of(SHAPES[shape])

    drawn = taken_apart(svg(part, "shop v1"))

    assert [box.texts[0] for box in drawn.boxes] == [leaf.title for leaf in leaves(part)]
    assert not any(one.meets(other) for one, other in combinations(drawn.boxes, 2))
    assert all(box.x >= 0 and box.x + box.width <= drawn.width for box in drawn.boxes)
    assert all(box.y >= 0 and box.y + box.height <= drawn.height for box in drawn.boxes)


@pytest.mark.parametrize("shape", ["long", "wide", "nested", "long-in-group"])
def test_sixty_steps_fit_a_picture_that_is_no_endless_line(shape: str) -> None:
    drawn = taken_apart(svg(part_of(SHAPES[shape]), "shop v1"))

    assert 1 / 3 < drawn.width / drawn.height < 4
    assert drawn.width < 3_500


@pytest.mark.parametrize("shape", ["three", "long"])
def test_an_arrow_leads_to_every_step_of_a_chain(shape: str) -> None:
    drawn = taken_apart(svg(part_of(SHAPES[shape]), "shop v1"))

    tops = {(box.x + box.width / 2, box.y) for box in drawn.boxes}
    framed = 1 if shape == "three" else 0  # The arrow to the pivot ends at its frame.
    assert len(tops & set(drawn.arrows)) == len(drawn.boxes) - framed


def test_a_step_says_whom_it_asks_and_what_undoes_it() -> None:
    texts = [box.texts for box in taken_apart(svg(part_of(SHAPES["three"]), "shop v1")).boxes]

    assert texts == [
        ("a", "inventory: a", "undo: release-a"),
        ("b", "shipping: b"),
        ("c", "mail: c"),
    ]


def test_what_nothing_undoes_and_what_only_reads_is_said() -> None:
    final, reads = (
        taken_apart(svg(part_of(step("a", to="b", **how)), "shop v1")).boxes[0].texts[2]
        for how in ({"undo": None}, {"reads": True})
    )

    assert (final, reads) == ("nothing undoes it", "only reads")


def test_every_kind_of_node_says_what_it_does() -> None:
    picture = svg(part_of(SHAPES["everything"]), "shop v1")

    texts = [box.texts for box in taken_apart(picture).boxes]
    assert texts == [
        ("reserve", "inventory: reserve", "undo: release"),
        ("approved", "waits for the signal approved", "2h, then goes on"),
        ("customs", "calls the saga customs"),
        ("sleep", "sleeps 1m"),
        ("ordered", "emits ordered", "nothing takes it back"),
        ("hold", "payments: hold", "undo: void", "confirm: capture"),
    ]
    for label in (
        "each of arg.lines in lists of 50, at most 20 at a time",
        "1: if ((arg.total &gt; 100) &amp; ~arg.gift.exists())",
        "2: if (arg.country == 'NO')",
        "otherwise",
    ):
        assert f"<title>{label}</title>" in picture


def test_a_version_that_is_called_is_said_and_a_choice_needs_no_otherwise() -> None:
    part = part_of(
        chain(call("customs", version=7), choose((arg.gift == 1, step("wrap", to="x", undo=None))))
    )

    picture = svg(part, "shop v1")

    texts = [box.texts for box in taken_apart(picture).boxes]
    assert texts[0] == ("customs", "calls the saga customs v7")
    assert texts[1][0] == "wrap"
    assert "otherwise" not in picture


def test_frames_lie_behind_the_steps_in_them() -> None:
    """Else their ground would hide them. Guard: `_back_to_front` in svg."""
    picture = svg(part_of(SHAPES["everything"]), "shop v1")

    assert picture.rindex('rx="8"') < picture.index('rx="6"')


def test_a_state_is_said_in_words_and_not_by_colour_alone() -> None:
    part = part_of(SHAPES["three"])
    ids = [leaf.id for leaf in leaves(part)]

    drawn = taken_apart(
        svg(part, "shop v1", {ids[0]: Mark("done", Shade.DONE), ids[1]: Mark("stuck", Shade.STUCK)})
    )

    assert [box.texts[-1] for box in drawn.boxes] == ["✓ done", "! stuck", "· not begun"]


def test_a_state_of_many_instances_is_told_whole_in_a_box_that_holds_it() -> None:
    """Guard: the height of a card counts the lines of its state, in blocks._block."""
    part = part_of(SHAPES["three"])
    ids = [leaf.id for leaf in leaves(part)]
    said = "1 stuck, 3 undo tried again, 12 undone, 1 refused"

    drawn = taken_apart(svg(part, "shop v1", {ids[0]: Mark(said, Shade.STUCK)}))

    box = drawn.boxes[0]
    state = box.texts[3:]
    assert (" ".join(state), len(state)) == (f"! {said}", 2)
    assert box.height > drawn.boxes[1].height
    assert not any(one.meets(other) for one, other in combinations(drawn.boxes, 2))


def test_what_a_saga_that_has_ended_never_began_is_left_out() -> None:
    states = [
        StateCount(
            node="0", phase="settled", op="do", closes=None, did="done", overridden=False, attempt=1, count=1
        )
    ]

    told = marks(states, left_out=["0", "1"])

    assert {node: mark.text for node, mark in told.items()} == {"0": "done", "1": "left out"}
    assert set(marks(states)) == {"0"}


def test_hostile_and_endless_text_breaks_nothing() -> None:
    title = '</text><script>alert("1")</script>\x00\x1b' + "x" * 200

    (box,) = taken_apart(svg(Leaf("0", title, (title,)), title)).boxes

    assert box.texts[0].startswith("</text><script>")
    assert box.texts[0].endswith("…")


def state(count: int = 1, **how: object) -> StateCount:
    fields: dict[str, object] = {
        "node": "1", "phase": "settled", "op": "do", "closes": None, "did": "done", "overridden": False, "attempt": 1,
    }  # fmt: skip
    return StateCount(**{**fields, **how, "count": count})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "text", "shade"),
    [
        ([state()], "done", Shade.DONE),
        ([state(attempt=3)], "done, attempt 3", Shade.DONE),
        ([state(phase="awaiting", did="unknown", attempt=2)], "asked, attempt 2", Shade.ASKED),
        ([state(phase="parked", did="unsent")], "not sent yet", Shade.WAITING),
        ([state(phase="backoff", did="unknown")], "tried again", Shade.WAITING),
        ([state(phase="backoff", op="undo")], "undo tried again", Shade.WAITING),
        ([state(phase="waiting", did="unknown")], "waiting", Shade.ASKED),
        ([state(phase="waiting", op="undo")], "being taken back", Shade.UNDOING),
        ([state(did="forced", overridden=True)], "forced", Shade.SKIPPED),
        ([state(op="confirm")], "confirmed", Shade.DONE),
        ([state(phase="awaiting", op="undo")], "undoing", Shade.UNDOING),
        ([state(op="undo")], "undone", Shade.UNDONE),
        ([state(op="fence", closes="undo", overridden=True)], "undo skipped", Shade.SKIPPED),
        ([state(phase="awaiting", op="fence")], "asked whether it happened", Shade.ASKED),
        ([state(did="refused")], "refused", Shade.REFUSED),
        ([state(did="skipped", overridden=True)], "skipped", Shade.SKIPPED),
        ([state(phase="stuck", did="unknown")], "stuck", Shade.STUCK),
        ([state(7_000), state(2, phase="stuck"), state(phase="parked")],
         "2 stuck, 1 not sent yet, 7,000 done", Shade.STUCK),
        ([state(3)], "3 done", Shade.DONE),
        ([state(2), state(3, op="fence", closes="do")], "5 done", Shade.DONE),
        ([state(did="unsent", attempt=2)], "never sent", Shade.AHEAD),
    ],
)  # fmt: skip
def test_a_mark_tells_how_far_the_instances_of_a_place_are(
    states: list[StateCount], text: str, shade: Shade
) -> None:
    assert marks(states) == {"1": Mark(text, shade)}
