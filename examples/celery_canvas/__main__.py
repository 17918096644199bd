"""Runs the example: `python -m examples.celery_canvas`, in the repository's root.

Each of Celery's primitives is run by Celery and, as a saga, by amends: with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import celery
import click

from examples.celery_canvas import sagas
from examples.celery_canvas.running import world
from examples.celery_canvas.tasks import add, double, total
from examples.servers import Servers, servers
from examples.verdict import Verdict

PAIRS = [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
TWO = {"left": 3, "right": 4}


def both_ways(at: Servers) -> Iterator[tuple[str, Any, Any]]:
    """Each primitive's name, what Celery made of it, and what its saga did."""
    three = [add.s(3, 4), double.s(3), double.s(4)]
    canvases = {
        "chain": (celery.chain(add.s(3, 4), double.s(), double.s()), sagas.in_turn, TWO),
        "group": (celery.group(three), sagas.side_by_side, TWO),
        "chord": (celery.chord(three, total.s()), sagas.then_together, TWO),
        "map": (double.map([1, 2, 3, 4, 5]), sagas.of_each, {"numbers": [1, 2, 3, 4, 5]}),
        "starmap": (add.starmap(PAIRS), sagas.of_each_pair, {"pairs": PAIRS}),
        "chunks": (add.chunks(PAIRS, 2).group(), sagas.in_chunks, {"pairs": PAIRS}),
    }
    with world(at) as here:
        for name, (canvas, saga, given) in canvases.items():
            theirs = canvas.apply_async().get(timeout=60)
            answers = here.answers(saga, given)
            # A chain's and a chord's result is what the last one answered.
            yield name, theirs, answers[-1] if name in ("chain", "chord") else answers


def main() -> None:
    """Run all six, both ways."""
    verdict = Verdict()
    with servers() as at:
        for name, theirs, ours in both_ways(at):
            click.echo(f"{name:<8} {theirs}")
            verdict.equal(f"the saga for {name}", ours, theirs)
    verdict.tell("six of Celery's primitives and their sagas have the same results")


if __name__ == "__main__":
    main()
