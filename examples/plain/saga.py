"""A sale goes through the books of three services, each in a database of another kind."""

from __future__ import annotations

from msgspec import Struct

from amends.coordinator import Saga, arg, chain, step

KINDS = ("postgresql", "mariadb", "sqlite")


class Sale(Struct):
    """So much money for this article; a sale of more than a hundred is refused by the last of the books."""

    number: str
    cents: int


sale = Saga(
    "sale",
    chain(
        *(
            step(
                f"book-{kind}",
                to=kind,
                do="book",
                undo="cancel",
                args={"number": arg.number, "cents": arg.cents},
            )
            for kind in KINDS
        )
    ),
    version=1,
    input=Sale,
)
