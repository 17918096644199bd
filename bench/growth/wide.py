"""A saga as long as its list: a step for each item, as a user of amends writes it."""

from __future__ import annotations

from amends.coordinator import Saga, arg, chain, each, item, step

# So many are under way at once, in one saga or in several.
STEPS_IN_FLIGHT = 100

bench_wide = Saga(
    "bench-wide",
    chain(
        each(
            arg.lines,
            step("reserve", to="inventory", undo="release", args={"number": item, "lines": []}),
            at_most=STEPS_IN_FLIGHT,
        )
    ),
    version=1,
    deadline="1h",
)
