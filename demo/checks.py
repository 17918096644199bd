"""The invariants that can be read from the databases after a run, by their numbers in the rules.

Each check looks for counter-examples in the evidence and names what it finds; a check without findings holds. The
log is replayed in `amends.demo.replay` (10), the queues are looked into by the runner (11).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from amends.demo.evidence import NOTHING, PATHS, Evidence
from amends.demo.exposition import Samples

FINAL: Final = frozenset({"completed", "compensated"})
SAID: Final = 5  # findings that a check names; of the others it gives the number


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the checks judge. `metrics` are the coordinator's after the run, None if it had to be restarted."""

    evidence: Evidence
    replay: tuple[str, ...]
    queued: Mapping[str, int]
    metrics: Samples | None
    faults: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """One invariant: whether it holds, and if not, why."""

    number: int
    words: str
    findings: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Nothing speaks against it."""
        return not self.findings

    def said(self) -> list[str]:
        """Some of the findings, for people."""
        more = len(self.findings) - SAID
        return [*self.findings[:SAID], *([f"and {more} more"] if more > 0 else [])]


def judge(case: Case) -> list[Verdict]:
    """Every invariant in turn."""
    return [Verdict(number, words, tuple(find(case))) for number, words, find in CHECKS]


def ends_once(case: Case) -> Iterator[str]:
    """1: every start the front made has ended, and in one way."""
    evidence = case.evidence
    for saga, header in evidence.sagas.items():
        if header.status not in FINAL | {"stuck"}:
            yield f"{evidence.where(saga)} is {header.status}"


def completed_once(case: Case) -> Iterator[str]:
    """2: completed: every step has happened once, and nothing was taken back."""
    evidence = case.evidence
    for saga in evidence.ended("completed"):
        for name, side in evidence.participants.items():
            tally = side.made.get(saga, NOTHING)
            if (tally.rows, tally.amount) != evidence.orders[saga].of(name):
                yield f"{evidence.where(saga)} is completed, {name} did {amount_of(tally.rows, tally.amount)}"
            if saga in side.unmade:
                yield f"{evidence.where(saga)} is completed, {name} took something back"


def compensated_once(case: Case) -> Iterator[str]:
    """3: compensated: every step has not happened, or once and was taken back once."""
    evidence = case.evidence
    for saga in evidence.ended("compensated"):
        for name, side in evidence.participants.items():
            made, unmade = side.made.get(saga, NOTHING), side.unmade.get(saga, NOTHING)
            both = {(made.rows, made.amount), (unmade.rows, unmade.amount)}
            if both not in ({(0, 0)}, {evidence.orders[saga].of(name)}):
                yield (
                    f"{evidence.where(saga)} is compensated, {name} did {amount_of(made.rows, made.amount)}"
                    f" and took back {amount_of(unmade.rows, unmade.amount)}"
                )


def nothing_after_its_undo(case: Case) -> Iterator[str]:
    """4: nothing happened after it was taken back, or after its tombstone."""
    evidence = case.evidence
    for name, side in evidence.participants.items():
        for saga, made in side.made.items():
            unmade, answer = side.unmade.get(saga), side.barrier.get((saga, "do"))
            if unmade is not None and made.last > unmade.first:
                yield f"{evidence.where(saga)}: {name} did it after taking it back"
            if answer is not None and answer.outcome == "never":
                yield f"{evidence.where(saga)}: {name} did it though its barrier says never"


def undone_was_done(case: Case) -> Iterator[str]:
    """5: nothing was taken back that had not happened."""
    evidence = case.evidence
    for name, side in evidence.participants.items():
        for saga in side.unmade.keys() - side.made.keys():
            yield f"{evidence.where(saga)}: {name} took back what it never did"


def repeats_change_nothing(case: Case) -> Iterator[str]:
    """6: one barrier row, one effect, however often the command came."""
    evidence = case.evidence
    for name, side in evidence.participants.items():
        for op, effects in (("do", side.made), ("undo", side.unmade)):
            done = {
                saga for (saga, its), answer in side.barrier.items() if its == op and answer.outcome == "done"
            }
            for saga in done ^ effects.keys():
                what = "an answer without an effect" if saga in done else "an effect without an answer"
                yield f"{evidence.where(saga)}: {name} has {what} ({op})"


def undone_in_reverse(case: Case) -> Iterator[str]:
    """7: the charge was taken back before the reservation."""
    payments, inventory = (case.evidence.participants[name].barrier for name in ("payments", "inventory"))
    for (saga, op), refunded in payments.items():
        released = inventory.get((saga, op))
        if op == "undo" and released is not None and refunded.at >= released.at:
            yield f"{case.evidence.where(saga)}: released at {released.at}, refunded at {refunded.at}"


def nothing_undone_after_the_pivot(case: Case) -> Iterator[str]:
    """8: once the carrier had the parcel nothing was taken back."""
    evidence = case.evidence
    dispatched = {
        saga
        for (saga, op), answer in evidence.participants["shipping"].barrier.items()
        if op == "do" and answer.outcome == "done"
    } | evidence.participants["shipping"].made.keys()
    for name, side in evidence.participants.items():
        undone = {saga for saga, op in side.barrier if op == "undo"} | side.unmade.keys()
        for saga in undone & dispatched:
            yield f"{evidence.where(saga)}: dispatched, yet {name} took it back"


def doubts_are_settled(case: Case) -> Iterator[str]:
    """9: whatever was sent and not surely refused was also taken back, known or not."""
    evidence = case.evidence
    for saga in evidence.ended("compensated"):
        for name in ("inventory", "payments"):
            step = evidence.steps.get((saga, PATHS[name]))
            undo = evidence.participants[name].barrier.get((saga, "undo"))
            done = evidence.participants[name].barrier.get((saga, "do"))
            owed = step is not None and step.did in ("unknown", "done", "in_doubt")
            owed = owed or (done is not None and done.outcome == "done")
            if owed and undo is None:
                yield f"{evidence.where(saga)}: {PATHS[name]} may have happened and was not taken back"


def log_tells_it_all(case: Case) -> Iterator[str]:
    """10: the log has no gap, and replaying it gives the stored state."""
    evidence = case.evidence
    for saga, header in evidence.sagas.items():
        span = evidence.logs.get(saga)
        if span is None or (span.first, span.last, span.entries) != (1, header.seq, header.seq):
            yield f"{evidence.where(saga)} stands at {header.seq}, its log has {span}"
    yield from case.replay


def nothing_is_left_over(case: Case) -> Iterator[str]:
    """11: no row is unsent, no timer is armed, no queue holds a message."""
    for database, rows in case.evidence.unsent.items():
        if rows:
            yield f"{rows} rows wait in the outbox of {database}"
    if case.evidence.timers:
        yield f"{case.evidence.timers} timers are armed"
    for queue, messages in case.queued.items():
        if messages:
            yield f"{messages} messages are left in {queue}"


def one_order_one_saga(case: Case) -> Iterator[str]:
    """12: every order the front took has its saga, once; there are no others."""
    evidence = case.evidence
    for saga, promise in evidence.orders.items():
        header = evidence.sagas.get(saga)
        if header is None:
            yield f"{evidence.where(saga)} has no saga"
        elif header.key != promise.number:
            yield f"{evidence.where(saga)} has a saga of key {header.key}"
    for saga in evidence.sagas.keys() - evidence.orders.keys():
        yield f"saga {saga} belongs to no order"


def amended_for_a_reason(case: Case) -> Iterator[str]:
    """13: only what a participant refused was amended; without faults all is completed."""
    evidence = case.evidence
    for saga in evidence.ended("compensated"):
        refused = any(
            (answer := side.barrier.get((saga, "do"))) is not None and answer.outcome == "refused"
            for side in evidence.participants.values()
        )
        if not refused:
            yield f"{evidence.where(saga)} is compensated, nobody refused"
        elif not case.faults:
            yield f"{evidence.where(saga)} is compensated, without faults"


def books_balance(case: Case) -> Iterator[str]:
    """14: what is gone from shelves and cards is what completed orders took."""
    evidence = case.evidence
    for sku, gone, booked in evidence.stock_off:
        yield f"{sku}: {gone} pieces are gone, {booked} are booked"
    for card, gone, booked in evidence.cards_off:
        yield f"{card}: {gone} cents are gone, {booked} are booked"
    pieces = sum(evidence.orders[saga].pieces for saga in evidence.ended("completed"))
    cents = sum(evidence.orders[saga].total_cents for saga in evidence.ended("completed"))
    if evidence.stock_taken != pieces:
        yield f"{evidence.stock_taken} pieces are gone, completed orders have {pieces}"
    if evidence.cards_taken != cents:
        yield f"{evidence.cards_taken} cents are gone, completed orders come to {cents}"


def stuck_says_why(case: Case) -> Iterator[str]:
    """15: a stuck saga names its step and the reason, and the metric shows it."""
    evidence = case.evidence
    stuck = {saga: header for saga, header in evidence.sagas.items() if header.status == "stuck"}
    for saga, header in stuck.items():
        steps = json.loads(header.stuck_steps or "[]")
        if not steps or not all(step.get("reason") for step in steps):
            yield f"{evidence.where(saga)} is stuck and does not say where or why"
    if case.metrics is not None and case.metrics.total("amends_sagas_stuck") != len(stuck):
        yield f"{len(stuck)} sagas are stuck, the gauge says {case.metrics.total('amends_sagas_stuck'):g}"


def metrics_agree(case: Case) -> Iterator[str]:
    """17: gauges and counters say what the database says."""
    if case.metrics is None:
        yield "the metrics could not be read"
        return
    statuses = [header.status for header in case.evidence.sagas.values()]
    moving = statuses.count("running") + statuses.count("compensating")
    expected: list[tuple[str, dict[str, str], int]] = [
        ("amends_sagas_started_total", {}, len(statuses) - statuses.count("rejected")),
        ("amends_sagas_rejected_total", {}, statuses.count("rejected")),
        ("amends_sagas_finished_total", {"status": "completed"}, statuses.count("completed")),
        ("amends_sagas_finished_total", {"status": "compensated"}, statuses.count("compensated")),
        ("amends_sagas_running", {}, moving),
        ("amends_outbox_pending", {}, case.evidence.unsent["coordinator"]),
    ]
    for name, labels, number in expected:
        told = case.metrics.total(name, **labels)
        if told != number:
            yield f"{name}{labels or ''} says {told:g}, the database {number}"


def amount_of(rows: int, amount: int) -> str:
    """An effect in words."""
    return f"{amount} in {rows} rows" if rows else "nothing"


CHECKS: Final[tuple[tuple[int, str, Callable[[Case], Iterable[str]]], ...]] = (
    (1, "every order ended: completed or compensated (or stuck)", ends_once),
    (2, "completed: every step happened once, nothing was taken back", completed_once),
    (3, "compensated: every step not at all, or once and taken back once", compensated_once),
    (4, "nothing happened after it was taken back", nothing_after_its_undo),
    (5, "nothing was taken back that had not happened", undone_was_done),
    (6, "repeated messages changed nothing", repeats_change_nothing),
    (7, "amends were made in reverse order", undone_in_reverse),
    (8, "nothing was taken back once the carrier had the parcel", nothing_undone_after_the_pivot),
    (9, "steps of unknown outcome were taken back too", doubts_are_settled),
    (10, "the log has no gap, and its replay gives the stored state", log_tells_it_all),
    (11, "no outbox row, timer or message is left over", nothing_is_left_over),
    (12, "every order has one saga, and every saga an order", one_order_one_saga),
    (13, "only what somebody refused was amended", amended_for_a_reason),
    (14, "money and stock balance", books_balance),
    (15, "what is stuck says where and why", stuck_says_why),
    (17, "metrics agree with the database", metrics_agree),
)
