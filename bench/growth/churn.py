"""Some millions of rows through one outbox table: how large it gets, and what a claim takes then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, Final

import psycopg

from amends.db.engines import transaction
from bench.mailbox import BODY, STORE, Mailbox, mailbox
from bench.servers import Servers

AT_ONCE: Final = 1_000
CLAIM_EVERY: Final = 20  # batches
CLAIMED: Final = 200
LEASE_S: Final = 30.0
# Autovacuum looks every minute. Here rows come and go some twenty times as fast as a busy service's.
NAPTIME_S: Final = 3

INSERT: Final = f"""
    WITH new AS (
        INSERT INTO amends_outbox (message_id, routing_key, type, body)
        SELECT gen_random_uuid()::text, 'nobody', 'bench.message', '{BODY.decode()}' FROM generate_series(1, %s)
        RETURNING id
    )
    SELECT min(id), max(id) FROM new
"""
DELETE: Final = "DELETE FROM amends_outbox WHERE id BETWEEN %s AND %s"
STANDS: Final = """
    SELECT pg_relation_size('amends_outbox'), pg_indexes_size('amends_outbox'),
        coalesce((SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'amends_outbox'), 0)
"""


def measure(servers: Servers, *, quick: bool) -> dict[str, Any]:
    """Two million rows (quick: 100,000) are inserted, a thousand in a transaction, and deleted in another.

    Of every twentieth batch a relay's claim leases 200 rows in between, which is timed. For this measurement alone
    PostgreSQL's autovacuum looks every 3 s instead of every minute, as rows come and go twenty times as fast as in
    life.

    `churn_rows`, `churn_rows_per_second`; `churn_claim_ms_begin` and `_end`, medians of the first and the last tenth
    of the claims, `churn_claim_ratio` between them; `churn_table_mib_most` and `_end`, `churn_indexes_mib_most` and
    `_end`; `churn_dead_rows_most` and `_end`.
    """
    rows = 100_000 if quick else 2_000_000
    claims: list[float] = []
    stands: list[tuple[int, int, int]] = []
    with mailbox(servers) as box, _vacuumed_often(servers):
        began = time.monotonic()
        with psycopg.connect(box.url, autocommit=True) as connection:
            for number in range(rows // AT_ONCE):
                inserted = connection.execute(INSERT, (AT_ONCE,)).fetchone()
                if number % CLAIM_EVERY == 0:
                    claims.append(_claim_ms(box))
                    stands.append(_stands(connection))
                connection.execute(DELETE, inserted)
            seconds = time.monotonic() - began
            time.sleep(1.5 * NAPTIME_S)
            stands.append(_stands(connection))
    tenth = max(1, len(claims) // 10)
    begin, end = median(claims[:tenth]), median(claims[-tenth:])
    figures: dict[str, Any] = {
        "churn_rows": rows,
        "churn_rows_per_second": round(rows / seconds),
        "churn_claim_ms_begin": round(begin, 2),
        "churn_claim_ms_end": round(end, 2),
        "churn_claim_ratio": round(end / begin, 2),
    }
    for place, (what, unit) in enumerate((("table_mib", 2**20), ("indexes_mib", 2**20), ("dead_rows", 1))):
        figures[f"churn_{what}_most"] = round(max(one[place] for one in stands) / unit, 1)
        figures[f"churn_{what}_end"] = round(stands[-1][place] / unit, 1)
    return figures


def _claim_ms(box: Mailbox) -> float:
    began = time.perf_counter()
    with transaction(box.engine) as connection:
        claimed = STORE.claim(connection, CLAIMED, LEASE_S)
    assert len(claimed) == CLAIMED
    return 1000 * (time.perf_counter() - began)


def _stands(connection: psycopg.Connection[Any]) -> tuple[int, int, int]:
    row = connection.execute(STANDS).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


@contextmanager
def _vacuumed_often(servers: Servers) -> Iterator[None]:
    servers.run(f"ALTER SYSTEM SET autovacuum_naptime = '{NAPTIME_S}s'")
    servers.run("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        servers.run("ALTER SYSTEM RESET autovacuum_naptime")
        servers.run("SELECT pg_reload_conf()")
