"""What the engine's statements do to windows and breakers (E4, M6); see `statements.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from amends.coordinator.engine import breakers, windows
from amends.coordinator.simulating.tables import BreakerTable, SagaRow, Tables

Values = Mapping[str, Any]

# Positions in a step's row.
_PATH, _QUEUE, _PHASE, _OP, _ATTEMPT, _SINCE = 1, 3, 4, 5, 8, 10
_WAITING: Final = ("parked", "awaiting", "backoff")


def _moving(tables: Tables) -> Iterator[tuple[SagaRow, tuple[Any, ...]]]:
    """The waiting steps of sagas that move."""
    for id_, steps in tables.steps.items():
        row = tables.sagas.get(id_)
        if row is not None and row.status in ("running", "compensating"):
            for step in steps.values():
                if step[_PHASE] in _WAITING:
                    yield row, step


def _counts(tables: Tables, _: Values) -> Sequence[Any]:
    out: Counter[str] = Counter()
    parked: Counter[str] = Counter()
    for _row, step in _moving(tables):
        if step[_PHASE] == "parked":
            parked[step[_QUEUE]] += 1
        elif step[_OP] == "do":
            out[step[_QUEUE]] += 1
    return [(queue, out[queue], parked[queue]) for queue in sorted(out.keys() | parked.keys())]


def _next_parked(tables: Tables, values: Values) -> Sequence[Any]:
    of_name: dict[str, list[tuple[int, str, str]]] = {}
    for row, step in _moving(tables):
        if step[_QUEUE] == values["queue"] and step[_PHASE] == "parked":
            of_name.setdefault(row.name, []).append((step[_SINCE], row.id, step[_PATH]))
    drawn = [
        (turn, name <= values["cursor"], name, id_, path)
        for name, steps in of_name.items()
        for turn, (_, id_, path) in enumerate(sorted(steps))
    ]
    return [(id_, path, name) for _, _, name, id_, path in sorted(drawn)[: values["rows_max"]]]


def _open(tables: Tables, values: Values) -> Sequence[Any]:
    queue = values["queue"]
    standing = tables.breakers.get(queue)
    if standing is not None and standing.open:
        return ()
    now = tables.now()
    closed = now if standing is None else standing.closed_ms
    until = now + round(values["pause_s"] * 1000)
    tables.journal.put(tables.breakers, queue, BreakerTable(True, closed, 0, until))
    return ((queue,),)


def _close(tables: Tables, values: Values) -> Sequence[Any]:
    queue = values["queue"]
    standing = tables.breakers.get(queue)
    if standing is None or not standing.open:
        return ()
    tables.journal.put(tables.breakers, queue, BreakerTable(False, tables.now(), 0, 0))
    return ((queue,),)


def _all(tables: Tables, _: Values) -> Sequence[Any]:
    return [(queue, row.open, row.closed_ms) for queue, row in tables.breakers.items()]


def _lease_probe(tables: Tables, values: Values) -> Sequence[Any]:
    queue = values["queue"]
    standing, now = tables.breakers.get(queue), tables.now()
    if standing is None or not standing.open or standing.probe_until > now:
        return ()
    pause = min(values["first_s"] * 2.0 ** min(standing.probes, 30), values["longest_s"])
    row = standing._replace(probes=standing.probes + 1, probe_until=now + round(pause * 1000))
    tables.journal.put(tables.breakers, queue, row)
    return ((queue,),)


def _waiting_command(tables: Tables, values: Values) -> Sequence[Any]:
    waiting = [
        (step[_PHASE] != "parked", step[_ATTEMPT], step[_SINCE], row.id, step[_PATH])
        for row, step in _moving(tables)
        if step[_QUEUE] == values["queue"]
    ]
    return [min(waiting)[3:]] if waiting else ()


STATEMENTS: Final[dict[str, Callable[[Tables, Values], Sequence[Any]]]] = {
    windows.COUNTS: _counts,
    windows.NEXT_PARKED: _next_parked,
    breakers.OPEN: _open,
    breakers.CLOSE: _close,
    breakers.ALL: _all,
    breakers.LEASE_PROBE: _lease_probe,
    breakers.WAITING_COMMAND: _waiting_command,
}
