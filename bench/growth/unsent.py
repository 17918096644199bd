"""What a message costs while a hundred thousand, or a million, unsent rows stand in the outbox."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.mailbox import BODY, Mailbox, mailbox
from bench.servers import Servers

SKIPPED: Final = 2_000

# Due for an hour: what piled up while the broker was away.
BACKLOG: Final = """
    INSERT INTO amends_outbox (message_id, routing_key, type, body, created_at, due_at)
    SELECT gen_random_uuid()::text, '{queue}', 'bench.message', '{body}', at, at
    FROM (SELECT now() - interval '1 hour' + n * interval '1 millisecond' AS at
        FROM generate_series(1, {rows}) AS n) AS new
"""

# Not to be sent now: a third is due tomorrow, a third is parked, a third waits behind the parked head of one of a
# thousand ordering keys, and is looked at again within the hour.
WAITING: Final = """
    INSERT INTO amends_outbox (message_id, routing_key, type, body, created_at, due_at, ordering_key, leased_until,
        parked_at, last_error)
    SELECT gen_random_uuid()::text, 'nobody', 'bench.message', '{body}', created, due,
        CASE WHEN kind = 2 OR head THEN 'key-' || n % 1000 END, CASE WHEN kind = 2 AND NOT head THEN due END,
        CASE WHEN kind = 1 OR head THEN now() END, CASE WHEN kind = 1 OR head THEN 'returned' END
    FROM (
        SELECT n, n <= 1000 AS head, n % 3 AS kind, now() - interval '1 hour' AS created,
            now() + random() * CASE n % 3 WHEN 0 THEN interval '1 day' ELSE interval '1 hour' END AS due
        FROM generate_series(1, {rows}) AS n
    ) AS new
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """So many rows of a kind."""

    name: str
    rows: int
    statement: str


def measure(servers: Servers, *, quick: bool) -> dict[str, Any]:
    """CPU ms of relay, PostgreSQL and RabbitMQ per message, with rows standing in the table and without any.

    `backlog`: the rows are due, and the messages measured are the first of them. `waiting`: the rows cannot be sent
    now, and the messages measured were put after them. Each relay starts anew and has 2,000 messages to warm up.

    `unsent_cpu_ms_none`, `_backlog_N`, `_waiting_N`: medians of the rounds. `unsent_per_second_...`: messages.
    `unsent_backlog_ratio_N`, `unsent_waiting_ratio_N`: CPU against none, medians of each round's ratio.
    `unsent_cost_ratio_N`: the worse of both.
    """
    messages, rounds, numbers = (4_000, 1, (100_000,)) if quick else (10_000, 3, (100_000, 1_000_000))
    standing = [Standing("none", 0, "")]
    for rows in numbers:
        standing += [Standing(f"backlog_{rows}", rows, BACKLOG), Standing(f"waiting_{rows}", rows, WAITING)]
    seen: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    with _prepared(servers, standing) as boxes:
        for number in range(rounds):
            # Forwards and backwards: what drifts is nobody's advantage.
            for one in standing if number % 2 == 0 else reversed(standing):
                seen[one.name].append(_stretch(boxes[one.name], one, messages))
    figures: dict[str, Any] = {}
    for name, runs in seen.items():
        figures[f"unsent_cpu_ms_{name}"] = round(median(run["cpu_ms"] for run in runs), 4)
        figures[f"unsent_per_second_{name}"] = median(run["per_second"] for run in runs)
        for part in ("relay", "postgresql", "rabbitmq"):
            figures[f"unsent_cpu_ms_{part}_{name}"] = median(run[f"cpu_ms_{part}"] for run in runs)
        ratios = [run["cpu_ms"] / none["cpu_ms"] for run, none in zip(runs, seen["none"], strict=True)]
        if name != "none":
            kind, count = name.split("_")
            figures[f"unsent_{kind}_ratio_{count}"] = round(median(ratios), 3)
            figures[f"unsent_{kind}_ratio_{count}_rounds"] = [round(ratio, 3) for ratio in ratios]
    for rows in numbers:
        kinds = (figures[f"unsent_backlog_ratio_{rows}"], figures[f"unsent_waiting_ratio_{rows}"])
        figures[f"unsent_cost_ratio_{rows}"] = max(kinds)
    return figures


@contextmanager
def _prepared(servers: Servers, standing: list[Standing]) -> Iterator[dict[str, Mailbox]]:
    with ExitStack() as ends:
        boxes = {one.name: ends.enter_context(mailbox(servers)) for one in standing}
        with ThreadPoolExecutor(2) as pool:
            list(
                pool.map(lambda one: _fill(boxes[one.name], one), sorted(standing, key=lambda one: -one.rows))
            )
        servers.run("CHECKPOINT")
        yield boxes


def _fill(box: Mailbox, standing: Standing) -> None:
    if standing.rows:
        body = BODY.decode().replace("'", "''")
        box.run(standing.statement.format(queue=box.queue, body=body, rows=standing.rows))
    box.run("VACUUM (ANALYZE) amends_outbox")


def _stretch(box: Mailbox, standing: Standing, messages: int) -> dict[str, float]:
    if standing.statement != BACKLOG:
        # Half as many again: while the last ones leave, a relay no longer works in full batches.
        box.fill(SKIPPED + messages + messages // 2)()
    with box.carrier("relay") as carrier:
        figures = carrier.stretch(SKIPPED, messages)
        if standing.statement != BACKLOG:
            carrier.finish()
    box.purge()
    return figures
