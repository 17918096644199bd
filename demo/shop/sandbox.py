"""Test data that makes trouble on purpose, as payment providers' test cards do.

Whoever uses an ordinary card, town and product never meets any of it. Every trouble but the refusals heals by trying
again. Nothing here knows of a switch: the data decides.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from amends.participants import Ctx

# Cards, by the first part of their token.
ORDINARY: Final = "tok_test_visa_"
DECLINED: Final = "tok_test_declined_"  # the bank has blocked it
SHORT: Final = "tok_test_short_"  # it never holds enough
BUSY: Final = "tok_test_busy_"  # the bank's line fails twice
SILENT: Final = "tok_test_silent_"  # the first charge hangs, then nothing has happened
LATE: Final = "tok_test_late_"  # the first charge answers, but far too late
SLOW_REFUND: Final = "tok_test_slowrefund_"  # the first refund hangs, then nothing has happened
TROUBLED_CARDS: Final = (DECLINED, SHORT, BUSY, SILENT, LATE, SLOW_REFUND)

# Products, by the first part of their number.
LIMITED: Final = "LTD-"  # fewer in stock than are ordered
ARCHIVE: Final = "ARC-"  # the archive's robot hangs at the first reservation and at the first release

# Places.
UNSERVED_POSTCODE: Final = "99999"  # no carrier goes there
STORM_TOWN: Final = "Stormhaven"  # the carrier's line there fails twice per parcel
SILENT_TOWN: Final = "Quietwater"  # the carrier does not answer the first call
TROUBLED_TOWNS: Final = (STORM_TOWN, SILENT_TOWN)

HANG_S: Final = 2.4  # longer than the definition's timeout: the coordinator has given the attempt up
CALL_S: Final = 1.0  # how long a call to the outside is waited for: shorter than the definition's timeout
BUSY_ATTEMPTS: Final = 2


def hang(what: str, *, answers: bool = False) -> None:
    """Stay silent for longer than anybody waits, then answer too late, or fail.

    Raises: TimeoutError, which rolls back what the handler did.
    """
    time.sleep(HANG_S)
    if not answers:
        raise TimeoutError(f"{what} did not answer")


def before_charge(card: str, ctx: Ctx) -> None:
    """What a card's bank does before a charge. Raises: ConnectionError, TimeoutError."""
    if card.startswith(BUSY) and ctx.attempt <= BUSY_ATTEMPTS:
        raise ConnectionError("the bank's line is busy")
    if card.startswith((SILENT, LATE)) and ctx.attempt == 1:
        hang("the bank", answers=card.startswith(LATE))


def before_refund(card: str, ctx: Ctx) -> None:
    """What a card's bank does before a refund. Raises: TimeoutError."""
    if (
        card.startswith(SLOW_REFUND) and ctx.attempt <= 2
    ):  # Attempts count over charge and refund: the charge was 1.
        hang("the bank")


def before_picking(skus: Iterable[str], ctx: Ctx) -> None:
    """What the archive's robot does before a reservation or a release. Raises: TimeoutError."""
    first = 1 if ctx.op == "do" else 3  # The reservation took attempts 1 and 2.
    if ctx.attempt <= first and any(sku.startswith(ARCHIVE) for sku in skus):
        hang("the archive's robot")
