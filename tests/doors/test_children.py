"""Parents and children as the doors show them."""

from __future__ import annotations

from amends.coordinator import Saga, call, wait
from tests.doors.house import House, Run
from tests.waiting import eventually


def test_a_parent_shows_its_children_and_they_show_it(house: House, amends: Run) -> None:
    """Guard: the `parent` filter in queries, and `parent_id` in INSERT_SAGAS."""
    house.world.register(Saga("inner", wait("go"), version=1))
    house.world.register(Saga("outer", call("inner"), version=1))
    parent = house.world.start_saga("outer").saga_id
    house.world.start_saga("inner")

    def children() -> list[dict[str, object]]:
        return house.http().get("/sagas", params={"parent": parent}).json()["sagas"]  # type: ignore[no-any-return]

    (child,) = eventually(children, what="the child")
    shown = amends("sagas", "show", parent, url=house.server.url)
    listed = amends("sagas", "list", "--parent", parent, "--json", url=house.server.url)

    assert (child["name"], child["parent"]) == ("inner", parent)
    assert house.http().get(f"/sagas/{parent}").json()["parent"] is None
    assert str(child["id"]) in shown.out
    assert [one["id"] for one in listed.lines] == [child["id"]]
