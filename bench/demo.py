"""The demo as `amends demo --faults none` runs it, telling when its first saga ended: `python -m bench.demo ORDERS`."""

from __future__ import annotations

import json
import sys

from amends.demo.cli import chosen_orders, stage_for
from amends.demo.run import run


def main() -> None:
    """Print one JSON object: `first_ended_at` (seconds since 1970), `sagas_per_second`, `p50_ms`, `p99_ms`.

    Raises: SystemExit if an invariant does not hold.
    """
    orders = chosen_orders(None, int(sys.argv[1]), faults=False)
    with stage_for(None, None, orders, faults=False) as stage:
        outcome = run(stage, orders, faults=False, progress=lambda _: None)
    figures = outcome.figures
    assert figures.first_ended_at is not None
    told = {
        "first_ended_at": figures.first_ended_at.timestamp(),
        "sagas_per_second": figures.per_second,
        "p50_ms": figures.p50_ms,
        "p99_ms": figures.p99_ms,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.exit(0 if outcome.passed else 1)


if __name__ == "__main__":
    main()
