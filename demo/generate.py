"""Writes the demo's orders: `python -m amends.demo.generate > demo/orders.jsonl`.

The same file comes out on every machine and every Python. The shop, its goods, its customers and its towns are
invented; some cards, towns and goods are the sandbox's (`amends.demo.shop.sandbox`) and make trouble on purpose.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final, TypeVar

import msgspec

from amends.demo.shop import sandbox
from amends.demo.shop.definition import Address, Customer, Line, Order

T = TypeVar("T")

ORDERS: Final = 1_000
SEED: Final = 20

# A word a line would be three screens.
# ruff: noqa: SIM905
FIRST_NAMES: Final = (
    "Ada Aisha Anke Bartek Beatriz Chidi Chloé Dagny Dmitri Eilidh Emre Fatima Femi Giulia Grzegorz Hana Hiroshi Imani "
    "Inès Ivo Jelena Joaquín Kaito Katarzyna Kofi Laleh Leif Łucja Maeve Malik Mei Mihai Nadia Nia Nils Noor Oisín "
    "Olena Paavo Priya Quentin Rahel Ravi Rosa Siobhán Søren Tamar Thandi Tomáš Umut Václav Wanjiru Xenia Yusuf Zoë"
).split()
LAST_NAMES: Final = (
    "Abara Achterberg Bianchi Blomqvist Castro Cohen Dąbrowska Delacroix Eriksen Farouk Fernández García-Ruiz "
    "Haddad Horváth Ito Jovanović Kamau Keller Kowalski Larsen Lefèvre MacLeod Mbeki Moreau Murphy Nakamura Novák "
    "Ó'Briain Okafor Oyelaran Papadaki Petrov Quispe Rahman Rossi Şahin Sato Schäfer Silva Sørensen Tanaka Thapa "
    "Tremblay Usman Van-den-Berg Vogel Wójcik Yamada Yilmaz Žukauskas"
).split()
STREETS: Final = (
    "Alder Row|Bakehouse Yard|Canal Parade|Cooper's Wynd|Drover Street|Ember Close|Ferry Steps|Granary Lane|"
    "Harbour Terrace|Inkwell Passage|Juniper Bank|Kiln Road|Lantern Court|Mill Race|North Quay|Orchard Rise|"
    "Parchment Street|Quarry Hill|Ropewalk|Saltmarsh Avenue|Tanner's Gate|Upper Weir|Violet Crescent|Weaver's Mews"
).split("|")
TOWNS: Final = (
    ("10115", "Aldermere"),
    ("12437", "Brackenford"),
    ("18055", "Crowhaven"),
    ("20457", "Dunholm"),
    ("23552", "Elverby"),
    ("30167", "Fennwick"),
    ("37073", "Glaston Weir"),
    ("44135", "Hartsea"),
    ("50676", "Inverlow"),
    ("55116", "Kestrelford"),
    ("68159", "Lindenau Cross"),
    ("70182", "Marrowdale"),
    ("80331", "Northmere"),
    ("86150", "Ostrava Bridge"),
    ("90402", "Penhallow"),
)
# What is sold: (kind, price in cents, variants); a product's number is its variant's place.
GOODS: Final = (
    ("INK", "Bottled ink", 1_190, "Midnight|Moss|Oxblood|Rust|Slate|Teal|Umber|Violet"),
    ("NOTE", "Notebook A5", 1_650, "plain|ruled|dotted|squared|music|tracing"),
    ("PAD", "Writing pad A4", 890, "white|ivory|grey|recycled"),
    ("PEN", "Fountain pen", 4_900, "extra fine|fine|medium|broad|italic|left-handed"),
    ("NIB", "Spare nib", 1_450, "extra fine|fine|medium|broad|stub"),
    ("PENCIL", "Pencils, box of 12", 1_380, "2H|H|HB|B|2B|4B|6B"),
    ("BRUSH", "Brush", 760, "round 2|round 4|round 8|flat 6|flat 12|fan"),
    ("CARD", "Cards with envelopes", 1_240, "birthday|thank you|blank|seasons"),
    ("WAX", "Sealing wax", 680, "red|black|gold|green"),
    ("BAG", "Pencil roll", 2_650, "canvas|leather|felt"),
    ("KNIFE", "Paper knife", 1_995, "brass|steel|olive wood"),
    ("LAMP", "Desk lamp", 7_900, "green shade|white shade"),
)
ARCHIVE: Final = tuple(
    Line(sku=f"{sandbox.ARCHIVE}{n:02d}", title=f"Archive print, sheet {n}", quantity=1, price_cents=3_400)
    for n in range(1, 4)
)
LIMITED: Final = tuple(
    Line(
        sku=f"{sandbox.LIMITED}{name.upper()}",
        title=f"Anniversary pen {name}",
        quantity=1,
        price_cents=12_900,
    )
    for name in ("Amber", "Cobalt", "Heron", "Ivory")
)
NOTES: Final = (
    "Please leave it with the neighbours at number 4.",
    "It is a gift 🎁, no invoice in the parcel.",
    'Write "Happy birthday, José" on the card.',
    "The bell does not work; knock.",
    "Büro im Hinterhof, 2. Stock links",
    "お届けは夕方以降にお願いします",
)


def pick(random: Random, among: Sequence[T]) -> T:
    """One of them. Only `Random.random` promises the same numbers in every Python."""
    return among[int(random.random() * len(among))]


def catalogue() -> tuple[Line, ...]:
    """What the shop always has, one of each."""
    return tuple(
        Line(
            sku=f"{kind}-{place:02d}", title=f"{title}, {variant}", quantity=1, price_cents=cents + 10 * place
        )
        for kind, title, cents, variants in GOODS
        for place, variant in enumerate(variants.split("|"), start=1)
    )


def basket(random: Random, goods: Sequence[Line]) -> list[Line]:
    """One to five different products, mostly one or two of each."""
    kinds = pick(random, (1, 1, 2, 2, 3, 4, 5))
    wanted = {pick(random, goods).sku: pick(random, (1, 1, 1, 2, 2, 3, 5, 10)) for _ in range(kinds)}
    return [msgspec.structs.replace(line, quantity=wanted[line.sku]) for line in goods if line.sku in wanted]


def card_of(place: int) -> str:
    """The card token of the order at this place in the file: every so many orders it is one of the sandbox's."""
    if place % 25 == 7:
        kind = sandbox.DECLINED
    elif place % 50 == 18:
        kind = sandbox.SHORT
    elif place % 40 == 33:
        kind = sandbox.BUSY
    elif place % 250 == 110:
        kind = sandbox.SILENT
    elif place % 250 == 160:
        kind = sandbox.LATE
    elif place % 300 == 205:
        kind = sandbox.SLOW_REFUND
    else:
        kind = sandbox.ORDINARY
    return f"{kind}{place:04d}"


def town_of(random: Random, place: int) -> tuple[str, str]:
    """Postcode and town of the order at this place; a storm closes one town's line twice in the file."""
    if place % 33 == 5 or place % 300 == 205:
        return sandbox.UNSERVED_POSTCODE, "Far Skerry"
    if (place in range(240, 280) and place % 2 == 0) or place in range(610, 640):
        return "25980", sandbox.STORM_TOWN
    if place % 250 == 60:
        return "27498", sandbox.SILENT_TOWN
    return pick(random, TOWNS)


def lines_of(random: Random, place: int, goods: Sequence[Line]) -> list[Line]:
    """The lines of the order at this place: some want a limited edition, a few a print from the archive."""
    lines = basket(random, goods)
    if place % 11 == 3:
        lines.append(pick(random, LIMITED))
    if place % 250 == 10 or place % 500 == 257:
        lines.append(pick(random, ARCHIVE))
    return lines


def order_at(random: Random, place: int, goods: Sequence[Line]) -> Order:
    """The order at this place in the file, counted from 1."""
    first, last = pick(random, FIRST_NAMES), pick(random, LAST_NAMES)
    lines = lines_of(random, place, goods)
    postcode, city = town_of(random, place)
    street = f"{1 + int(random.random() * 120)} {pick(random, STREETS)}"
    return Order(
        number=f"HS-{place:05d}",
        customer=Customer(name=f"{first} {last}", email=f"customer{place:04d}@example.com"),
        lines=lines,
        total_cents=sum(line.quantity * line.price_cents for line in lines),
        card=card_of(place),
        address=Address(name=f"{first} {last}", street=street, postcode=postcode, city=city),
        note=pick(random, NOTES) if random.random() < 0.08 else "",
    )


def orders(count: int = ORDERS) -> Iterator[Order]:
    """The demo's orders, always the same."""
    random, goods = Random(SEED), catalogue()
    for place in range(1, count + 1):
        yield order_at(random, place, goods)


def main() -> None:
    """Write one order a line to standard output."""
    for order in orders():
        sys.stdout.buffer.write(msgspec.json.encode(order) + b"\n")


if __name__ == "__main__":
    main()
