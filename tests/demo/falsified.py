"""Faults that an amends without its guards could leave behind, each as a statement that falsifies a finished run."""

from __future__ import annotations

from typing import NamedTuple

# One saga of each kind, as sub-selects.
COMPLETED = "(SELECT saga_id FROM parcels ORDER BY no LIMIT 1)"
REFUNDED = "(SELECT saga_id FROM refunds ORDER BY no LIMIT 1)"
CHARGED = (
    "(SELECT saga_id FROM charges WHERE saga_id NOT IN (SELECT saga_id FROM refunds) ORDER BY no LIMIT 1)"
)
RELEASED = "(SELECT saga_id FROM releases ORDER BY no LIMIT 1)"

CHARGE = "saga_id, order_number, card, amount_cents"
REFUND = "saga_id, charge_no, card, amount_cents"
PARCEL = "saga_id, order_number, reservation, tracking, city"
BARRIER = "saga_id, path, op, round, outcome, certain, final, reason, calls"
MESSAGE = "(message_id, routing_key, type, body) VALUES ('m', 'q', 't', '')"


class Fault(NamedTuple):
    """What somebody might have done to a database, and the invariant that it breaks."""

    number: int
    words: str
    which: str
    statement: str


FAULTS = (
    Fault(1, "a saga that never ended", "coordinator", """
        UPDATE amends.saga SET status = 'running', ended_at = NULL WHERE status = 'completed'
    """),
    Fault(2, "a card charged twice", "payments", f"""
        INSERT INTO charges ({CHARGE}) SELECT {CHARGE} FROM charges WHERE saga_id = {CHARGED}
    """),
    Fault(2, "a charge that was lost", "payments", f"DELETE FROM charges WHERE saga_id = {CHARGED}"),
    Fault(2, "a completed order refunded", "payments", f"""
        INSERT INTO refunds ({REFUND}) SELECT saga_id, no, card, amount_cents FROM charges WHERE saga_id
        = {CHARGED}
    """),
    Fault(2, "half of a reservation", "inventory", """
        DELETE FROM reservations WHERE no = (SELECT max(no) FROM reservations WHERE saga_id NOT IN
        (SELECT saga_id FROM releases))
    """),
    Fault(2, "a parcel sent twice", "shipping", f"""
        INSERT INTO parcels ({PARCEL}) SELECT {PARCEL} FROM parcels WHERE saga_id = {COMPLETED}
    """),
    Fault(3, "a refund that was lost", "payments", f"DELETE FROM refunds WHERE saga_id = {REFUNDED}"),
    Fault(3, "a refund made twice", "payments", f"""
        INSERT INTO refunds ({REFUND}) SELECT {REFUND} FROM refunds WHERE saga_id = {REFUNDED}
    """),
    Fault(3, "a release of other goods", "inventory", f"""
        UPDATE releases SET quantity = quantity + 1 WHERE saga_id = {RELEASED}
    """),
    Fault(4, "a charge after its refund", "payments", f"""
        UPDATE charges SET no = nextval('journal_no') WHERE saga_id = {REFUNDED}
    """),
    Fault(4, "a charge over a tombstone", "payments", f"""
        UPDATE amends_barrier SET outcome = 'never', result = NULL WHERE op = 'do' AND saga_id =
        {CHARGED}
    """),
    Fault(5, "a release of what was never reserved", "inventory", f"""
        DELETE FROM reservations WHERE saga_id = {RELEASED}
    """),
    Fault(6, "an effect whose barrier row is gone", "payments", f"""
        DELETE FROM amends_barrier WHERE op = 'do' AND saga_id = {CHARGED}
    """),
    Fault(6, "an answer without its effect", "shipping", f"""
        DELETE FROM parcels WHERE saga_id = {COMPLETED}
    """),
    Fault(7, "a release before the refund", "payments", f"""
        UPDATE amends_barrier SET at = at + interval '1 hour' WHERE op = 'undo' AND saga_id = {REFUNDED}
    """),
    Fault(8, "a refund of a dispatched order", "payments", f"""
        INSERT INTO amends_barrier ({BARRIER}) SELECT saga_id, path, 'undo', 1, 'done', true, false, '',
        0 FROM amends_barrier WHERE op = 'do' AND saga_id = {CHARGED}
    """),
    Fault(9, "a charge that was never taken back", "payments", f"""
        DELETE FROM amends_barrier WHERE op = 'undo' AND saga_id = {REFUNDED}
    """),
    Fault(10, "a gap in a log", "coordinator", "DELETE FROM amends.saga_log WHERE seq = 2"),
    Fault(10, "a log that tells of another outcome", "coordinator", """
        UPDATE amends.saga_log SET event = jsonb_set(event::jsonb, '{outcome}', '"refused"')::json WHERE
        event->>'path' = 'dispatch' AND event->>'outcome' = 'done'
    """),
    Fault(10, "a step that its log does not explain", "coordinator", """
        UPDATE amends.step SET attempt = attempt + 1 WHERE path = 'charge'
    """),
    Fault(11, "a message that never left", "coordinator", f"INSERT INTO amends.outbox {MESSAGE}"),
    Fault(11, "an answer that never left", "payments", f"INSERT INTO amends_outbox {MESSAGE}"),
    Fault(11, "a timer that is still armed", "coordinator", """
        INSERT INTO amends.timer (saga_id, path, attempt, due_at) SELECT id, 'charge', 1, now() FROM
        amends.saga LIMIT 1
    """),
    Fault(12, "an order whose saga was lost", "front", """
        INSERT INTO orders SELECT number || 'x', gen_random_uuid(), card, lines, pieces, total_cents,
        placed_at FROM orders LIMIT 1
    """),
    Fault(12, "a saga nobody ordered", "front", "DELETE FROM orders WHERE number = 'HS-00001'"),
    Fault(12, "a saga under another's key", "coordinator", """
        UPDATE amends.saga SET key = 'HS-99999' WHERE key = 'HS-00001'
    """),
    Fault(13, "an order amended though nobody refused", "payments", """
        UPDATE amends_barrier SET outcome = 'never' WHERE outcome = 'refused'
    """),
    Fault(14, "money that is gone from a card", "payments", """
        UPDATE accounts SET balance_cents = balance_cents - 1 WHERE balance_cents > 0
    """),
    Fault(14, "goods that are gone from a shelf", "inventory", """
        UPDATE stock SET on_hand = on_hand - 1 WHERE on_hand > 0
    """),
    Fault(14, "money that was booked, but not ordered", "front", """
        UPDATE orders SET total_cents = total_cents + 1
    """),
    Fault(14, "goods that were booked, but not ordered", "front", "UPDATE orders SET pieces = pieces + 1"),
    Fault(15, "a stuck saga that does not say why", "coordinator", """
        UPDATE amends.saga SET status = 'stuck', ended_at = NULL, stuck_steps = '[]' WHERE status =
        'completed'
    """),
    Fault(17, "a saga the counters do not know", "coordinator", """
        UPDATE amends.saga SET status = 'running', ended_at = NULL WHERE status = 'completed'
    """),
)  # fmt: skip
