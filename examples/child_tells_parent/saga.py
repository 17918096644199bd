"""One task: the child paints a house."""

from msgspec import Struct

from amends.coordinator import Saga, arg, pivot, result, step


class House(Struct):
    parent: str
    number: int


paint_house = Saga(
    "paint-house",
    # What is painted stays painted: once this is sent, only its outcome decides.
    pivot(step("paint", to="child", args={"parent": arg.parent, "number": arg.number})),
    version=1,
    input=House,
    result=result("paint"),
)
