"""The carrier: somebody else's service, far away, that the shipping service calls.

This stand-in keeps the carrier's promises and none of its weight: a call with the same key books the same parcel.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from hashlib import sha256

from amends.demo.shop import sandbox


class Carrier:
    """Books parcels. Towns of the sandbox are in a storm, or silent, at their first calls."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def serves(self, postcode: str) -> bool:
        """Whether the carrier goes there at all."""
        return postcode != sandbox.UNSERVED_POSTCODE

    def book(self, *, key: str, city: str) -> str:
        """Hand a parcel over; gives its tracking number, the same for the same key.

        Raises: ConnectionError or TimeoutError while the carrier cannot be reached.
        """
        if city in (sandbox.STORM_TOWN, sandbox.SILENT_TOWN):
            with self._lock:
                self._calls[key] += 1
                call = self._calls[key]
            if city == sandbox.STORM_TOWN and call <= sandbox.BUSY_ATTEMPTS:
                raise ConnectionError("the carrier cannot be reached")
            if city == sandbox.SILENT_TOWN and call == 1:
                time.sleep(sandbox.CALL_S)
                raise TimeoutError(f"the carrier did not answer within {sandbox.CALL_S:g} s")
        return "CP" + sha256(key.encode()).hexdigest()[:14].upper()
