"""The definition of `examples/pipeline`, told as stories. The rest runs in `make examples`."""

from __future__ import annotations

from amends.testing import Story, do, done, refused, undo
from examples.pipeline.saga import Entry, Piece, pipeline

PIECE = Piece(7, [Entry("created", 1.0)])
AFTER_B = [{"by": name, "at": at} for name, at in (("created", 1.0), ("a", 2.0), ("b", 3.0))]


def test_each_station_gets_the_history_that_the_one_before_it_has_written() -> None:
    at_c = Story(pipeline, PIECE).given(a=done(AFTER_B[:2])).when(b=done(AFTER_B))

    assert at_c.commands == [do("c")]
    assert at_c.args("b") == {"number": 7, "history": AFTER_B[:2]}
    assert at_c.args("c") == {"number": 7, "history": AFTER_B}


def test_a_station_that_says_no_takes_the_message_back_from_those_that_had_it() -> None:
    no = Story(pipeline, PIECE).given(a=done([]), b=done([])).when(c=refused("full"))
    assert no.commands == [undo("b")]

    assert no.when(b=done()).commands == [undo("a")]
