"""Runs the example: `python -m examples.shop`, in the repository's root.

Six Django services, each with its database, a worker and where people speak to it a web server; a coordinator; a
payment gateway. Everything that can fail in them does, and at the end money, stock and rows are counted.
"""

from __future__ import annotations

from collections.abc import Iterable

import click
from sqlalchemy import text

from amends.db.engines import transaction
from examples.servers import servers
from examples.shop.bank import Bank, open_bank
from examples.shop.books import check_books
from examples.shop.cases import BAD_ORDERS, CUSTOMER, HEARD, LEAVER, NEWCOMERS, SHELVES, Case, good_orders
from examples.shop.town import SERVICES, Town, town
from examples.verdict import Verdict

WAVE = 8
LATER = 2
KILLED = ("inventory", "orders")


def main() -> None:
    """Onboard, order, kill, switch the gateway off and on, compare the books; then count everything."""
    verdict = Verdict()
    with servers() as at, open_bank() as bank, town(at, bank.url) as shop:
        stock(shop)
        click.echo("six services are up")
        await_ends(shop, "sign-ups", ask(shop, "users", NEWCOMERS), verdict)
        live_a_little(shop, verdict)
        for service in KILLED:
            order_and_kill(shop, service, verdict)
        await_ends(shop, "orders that fail", ask(shop, "orders", BAD_ORDERS), verdict)
        order_while_the_gateway_is_down(shop, bank, verdict)
        compare_by_the_clock(shop, verdict)
        check_books(shop, bank, verdict)
    verdict.tell("every order is confirmed or amended; money, stock, rows and mails agree")


def stock(shop: Town) -> None:
    """Fill the shelves."""
    with transaction(shop.databases["inventory"]) as connection:
        for sku, (pieces, cents) in SHELVES.items():
            connection.execute(
                text("INSERT INTO inventory_article (sku, pieces, cents) VALUES (:sku, :pieces, :cents)"),
                {"sku": sku, "pieces": pieces, "cents": cents},
            )


def ask(shop: Town, service: str, cases: Iterable[Case]) -> list[tuple[str, Case]]:
    """Ask a service for each; the sagas that it started."""
    return [(shop.post(service, case.asked), case) for case in cases]


def await_ends(shop: Town, what: str, asked: list[tuple[str, Case]], verdict: Verdict) -> None:
    """Wait until these sagas have ended, each as its case says."""
    for saga, case in asked:
        end = shop.client.wait(saga)
        verdict.equal(f"the end of {case.asked}", end.status, case.ends)
        if case.why is not None:
            verdict.equal(f"that {end.error!r} says {case.why!r}", case.why in (end.error or ""), True)
    amended = [case.why for _, case in asked if case.why is not None]
    told = f", {len(amended)} amended: {'; '.join(amended)}" if amended else ""
    click.echo(f"{what}: {len(asked) - len(amended)} completed{told}")


def live_a_little(shop: Town, verdict: Verdict) -> None:
    """Users log in, change their names and passwords, and leave, while one of those who listen is dead."""
    shop.workers["notifications"].kill()
    shop.ask("users", "POST", f"/users/{CUSTOMER}/login")
    shop.ask("users", "POST", f"/users/{CUSTOMER}/password", {"password": "correct horse"})
    shop.ask("users", "PATCH", f"/users/{CUSTOMER}", {"name": "Anna"})
    shop.ask("users", "DELETE", f"/users/{LEAVER}")
    shop.workers["notifications"].start()
    warned = "SELECT text FROM notifications_mail WHERE text LIKE 'was this you%' ORDER BY text"
    mails = ["was this you: user.login?", "was this you: user.password_changed?"]
    shop.until("the mails are sent", lambda: shop.rows("notifications", warned) == mails)
    customers = "SELECT name, gone FROM orders_customer ORDER BY gone"
    told = [("Anna", False), ("", True)]
    shop.until("the orders know", lambda: shop.rows("orders", customers) == told)
    for service, table in (("notifications", "notifications_preference"), ("shipping", "shipping_default")):
        left = f"SELECT email FROM {table}"
        shop.until(f"{service} forgets", lambda s=service, q=left: shop.rows(s, q) == [CUSTOMER])
    # A copy of an event, or one for others, would have left a row more.
    heard = "SELECT path, count(*) FROM amends_barrier WHERE path LIKE 'on:%' GROUP BY path ORDER BY path"
    counts = {service: dict(shop.rows(service, heard)) for service in SERVICES}
    verdict.equal("who has heard how many events", {name: one for name, one in counts.items() if one}, HEARD)
    click.echo("users' events: " + "; ".join(f"{name} {sum(one.values())}" for name, one in HEARD.items()))


def order_and_kill(shop: Town, service: str, verdict: Verdict) -> None:
    """Kill a service's worker in the middle of orders, once it has obeyed something; more come in while it is dead."""
    obeyed = "SELECT count(*) FROM amends_barrier"
    # A worker that dies while it sends starts holds them for as long as a send may take, half a minute: not for here.
    unsent = "SELECT count(*) FROM amends_outbox WHERE needs_receipt AND sent_at IS NULL"
    (before,) = shop.rows(service, obeyed)
    orders = ask(shop, "orders", good_orders(f"kill-{service}", WAVE))
    shop.until("the orders' starts have left", lambda: shop.rows("orders", unsent) == [0])
    shop.until(f"{service} obeys", lambda: shop.rows(service, obeyed)[0] > before)
    shop.workers[service].kill()
    orders += ask(shop, "orders", good_orders(f"without-{service}", LATER))
    under_way = sum(not shop.ended(saga) for saga, _ in orders)
    verdict.equal(f"that {service} is killed in mid-run", under_way >= LATER, True)
    shop.workers[service].start()
    await_ends(shop, f"orders, {under_way} under way while {service} was killed -9", orders, verdict)


def order_while_the_gateway_is_down(shop: Town, bank: Bank, verdict: Verdict) -> None:
    """The breaker opens, the orders wait, it is tried again and closes: nothing is undone, nothing lost."""
    bank.is_down = True
    orders = ask(shop, "orders", good_orders("down", WAVE))
    shop.until("the breaker opens", lambda: shop.breaker_state() == 2)
    bank.is_down = False
    await_ends(shop, "orders while the gateway is down", orders, verdict)
    verdict.equal("the breaker at the end", shop.breaker_state(), 0)
    click.echo(
        f"the gateway turned {bank.turned_away} calls away; then its breaker was open, and closed again"
    )


def compare_by_the_clock(shop: Town, verdict: Verdict) -> None:
    """A schedule for every night; the run does not wait for one: it makes the next instant one that is just over."""
    shop.client.schedules.add(
        "nightly", cron="0 3 * * *", timezone="Europe/Berlin", saga="reconcile", input={}
    )
    with transaction(shop.coordinator) as connection:
        connection.execute(text("UPDATE amends.schedule SET next_due = now() - interval '1 minute'"))
    shop.until("the schedule fires", lambda: shop.client.schedules.get("nightly").last_saga is not None)
    saga = shop.client.schedules.get("nightly").last_saga
    assert saga is not None
    verdict.equal("the end of the nightly comparison", shop.client.wait(saga).status, "completed")
    said = shop.rows("notifications", "SELECT text FROM notifications_mail WHERE text LIKE 'the books%'")
    verdict.equal("what it found", said, ["the books agree"])
    click.echo(f"by the clock: {said[0]}")


if __name__ == "__main__":
    main()
