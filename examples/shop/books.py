"""The accounts at the end of the run: what each service has, against what was confirmed."""

from __future__ import annotations

from sqlalchemy import text

from amends.db.engines import transaction
from examples.shop.bank import Bank
from examples.shop.cases import LEAVER, NEWCOMERS, SHELVES
from examples.shop.town import SERVICES, Town
from examples.verdict import Verdict


def check_books(shop: Town, bank: Bank, verdict: Verdict) -> None:
    """Confirmed orders have money, stock, parcel and receipt; all others have nothing."""
    orders = shop.rows("orders", "SELECT number, status FROM orders_order")
    confirmed = {number for number, status in orders if status == "confirmed"}
    verdict.equal("how orders stand", {status for _, status in orders}, {"confirmed", "cancelled"})
    _money(shop, bank, confirmed, verdict)
    _goods(shop, confirmed, verdict)
    _people(shop, verdict)
    _quiet(shop, verdict)


def _money(shop: Town, bank: Bank, confirmed: set[str], verdict: Verdict) -> None:
    paid = "SELECT {} FROM payments_payment WHERE NOT refunded"
    verdict.equal("who has paid", set(shop.rows("payments", paid.format('"order"'))), confirmed)
    verdict.equal("what the gateway has", bank.total(), sum(shop.rows("payments", paid.format("cents"))))


def _goods(shop: Town, confirmed: set[str], verdict: Verdict) -> None:
    for service, table in (("inventory", "inventory_reservation"), ("shipping", "shipping_parcel")):
        found = shop.rows(service, f'SELECT "order" FROM {table}')
        verdict.equal(f"the orders of {table}", sorted(found), sorted(confirmed))
    left = "SELECT sku, pieces FROM inventory_article"
    gone = (
        "SELECT sku, sum(r.pieces) FROM inventory_reservation r JOIN inventory_article a ON a.id = article_id"
    )
    taken = dict(shop.rows("inventory", f"{gone} GROUP BY sku"))
    wanted = {sku: pieces - int(taken.get(sku, 0)) for sku, (pieces, _) in SHELVES.items()}
    verdict.equal("what is left on the shelves", dict(shop.rows("inventory", left)), wanted)
    receipts = "SELECT split_part(text, ' ', 1) FROM notifications_mail WHERE text LIKE '% is on its way'"
    verdict.equal("who got a receipt", sorted(shop.rows("notifications", receipts)), sorted(confirmed))


def _people(shop: Town, verdict: Verdict) -> None:
    welcome = sorted(case.asked["email"] for case in NEWCOMERS if case.why is None)
    stayed = [email for email in welcome if email != LEAVER]
    joined = "SELECT email FROM users_user u JOIN {} x ON x.user_id = u.id WHERE active ORDER BY email"
    for table in ("users_profile", "users_role"):
        verdict.equal(f"who has a row in {table}", shop.rows("users", joined.format(table)), stayed)
        verdict.equal(
            f"the rows in {table}", shop.rows("users", f"SELECT count(*) FROM {table}"), [len(stayed)]
        )
    for service, table in (("notifications", "notifications_preference"), ("shipping", "shipping_default")):
        found = shop.rows(service, f"SELECT email FROM {table} ORDER BY email")
        verdict.equal(f"who has a row in {table}", found, stayed)
    mails = shop.rows("notifications", "SELECT \"to\", sent FROM notifications_mail WHERE text = 'welcome'")
    verdict.equal("who was welcomed", sorted(mails), [(email, True) for email in welcome])


def _quiet(shop: Town, verdict: Verdict) -> None:
    """Nothing is left unsent, and no saga open."""
    for service in SERVICES:
        shop.until(
            f"the outbox of {service} is empty",
            lambda service=service: shop.rows(service, "SELECT count(*) FROM amends_outbox") == [0],
        )
    with transaction(shop.coordinator) as connection:
        found = connection.execute(text("SELECT DISTINCT status FROM amends.saga")).scalars().all()
    verdict.equal("how sagas stand", set(found), {"completed", "compensated"})
