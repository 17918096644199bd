"""Section 4: what grows with what stands there, with what has ended, with a saga's length, with what came and went."""

from __future__ import annotations

from typing import Any

from bench.contestants.amends import amends
from bench.growth import churn, finished, steps, unsent
from bench.servers import Servers

SAGAS = ("bench.shop:bench_order", "bench.growth.wide:bench_wide")


def measure(servers: Servers, *, quick: bool) -> dict[str, Any]:
    """The figures of `bench.growth`, whose modules tell their units; costs are CPU ms of all processes together.

    Wall time on two cores that everything shares follows it, with more noise: it stands beside each figure.
    """
    figures = unsent.measure(servers, quick=quick)
    figures |= churn.measure(servers, quick=quick)
    with amends(servers, sagas=SAGAS) as young:
        figures |= finished.measure(servers, young, quick=quick)
        figures |= steps.measure(servers, young, quick=quick)
    return figures
