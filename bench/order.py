"""The benchmark's saga, as data: what amends, the bare loop and the peers all do for one order."""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Step(NamedTuple):
    """One step: its name, who does it, which fields of the order it needs."""

    path: str
    participant: str
    args: tuple[str, ...]


STEPS: Final = (
    Step("reserve", "inventory", ("number", "lines")),
    Step("charge", "payments", ("number", "card", "amount_cents")),
    Step("dispatch", "shipping", ("number", "address")),
)
PARTICIPANTS: Final = tuple(step.participant for step in STEPS)
NAME: Final = "bench-order"

# What a step does to its own database: one row.
EFFECTS_TABLE: Final = """
    CREATE TABLE effects (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, saga_id uuid NOT NULL, number text NOT NULL,
        at timestamptz NOT NULL DEFAULT now()
    )
"""


def order(number: str) -> dict[str, Any]:
    """One order; about 300 bytes of JSON."""
    return {
        "number": number,
        "card": "4000-1234-5678-9010",
        "amount_cents": 12_345,
        "lines": [{"sku": "tea-earl-grey", "quantity": 2}, {"sku": "pot-cast-iron", "quantity": 1}],
        "address": {"name": "A. Customer", "street": "1 Long Road", "postcode": "12345", "city": "Somewhere"},
    }
