"""What PostgreSQL's sessions are at, looked at twenty times a second from one connection."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

import psycopg
from sqlalchemy.engine import make_url

from bench.contestants.coordinated import LOOKING
from bench.servers import Servers

LOOK_S: Final = 0.05

# A session in a transaction that asks nothing waits for its client: for Python, or for the processor it needs.
SESSIONS = """
    SELECT application_name, CASE
            WHEN state LIKE 'idle in transaction%%' THEN 'its client'
            WHEN wait_event IS NULL THEN 'nothing: it runs'
            ELSE wait_event_type || ':' || wait_event
        END AS waits_for, count(*)
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND state <> 'idle' AND application_name <> %s GROUP BY 1, 2
"""


class Waits:
    """A context manager: looks while its block runs."""

    def __init__(self, servers: Servers) -> None:
        url = make_url(servers.postgres_url).set(drivername="postgresql")
        self._url = url.render_as_string(hide_password=False)
        self._seen: Counter[tuple[str, str]] = Counter()
        self._looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="bench-waits")

    def __enter__(self) -> Waits:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def sessions(self) -> dict[str, dict[str, float]]:
        """How many sessions waited for what, on average, by application name; the most first."""
        shown: dict[str, dict[str, float]] = {}
        for (application, waits_for), count in self._seen.most_common():
            average = round(count / max(1, self._looks), 3)
            if average >= 0.005:
                shown.setdefault(application, {})[waits_for] = average
        return shown

    def totals(self) -> dict[str, float]:
        """The same of all applications together."""
        sums: Counter[str] = Counter()
        for (_, waits_for), count in self._seen.items():
            sums[waits_for] += count
        return {waits_for: round(count / max(1, self._looks), 3) for waits_for, count in sums.most_common()}

    def _look(self) -> None:
        with psycopg.connect(self._url, autocommit=True, application_name=LOOKING) as connection:
            while not self._over.wait(LOOK_S):
                self._looks += 1
                for application, waits_for, count in connection.execute(SESSIONS, (LOOKING,)):
                    self._seen[application, waits_for] += count
