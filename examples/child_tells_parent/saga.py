"""One task: the child paints a house."""

from msgspec import Struct

from amends.coordinator import Saga, arg, result, step


class House(Struct):
    parent: str
    number: int


paint_house = Saga(
    "paint-house",
    step("paint", to="child", undo=None, args={"parent": arg.parent, "number": arg.number}),
    version=1,
    input=House,
    result=result("paint"),
)
