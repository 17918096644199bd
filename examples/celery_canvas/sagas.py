"""What Celery's canvas says, in the language of sagas. These steps only compute (`reads=True`); yours say `undo=`."""

from __future__ import annotations

from amends.coordinator import Saga, arg, chain, each, group, item, result, step

# celery.chain(add.s(left, right), double.s(), double.s())
in_turn = Saga(
    "in-turn",
    chain(
        step("add", to="sums", reads=True, args={"left": arg.left, "right": arg.right}),
        step("twice", to="sums", do="double", reads=True, args=result("add")),
        step("four-times", to="sums", do="double", reads=True, args=result("twice")),
    ),
    version=1,
    result=result("four-times"),
)

# celery.group(add.s(left, right), double.s(left), double.s(right))
side_by_side = Saga(
    "side-by-side",
    group(
        step("add", to="sums", reads=True, args={"left": arg.left, "right": arg.right}),
        step("left", to="sums", do="double", reads=True, args=arg.left),
        step("right", to="sums", do="double", reads=True, args=arg.right),
    ),
    version=1,
    result=[result("add"), result("left"), result("right")],
)

# celery.chord([add.s(left, right), double.s(left), double.s(right)], total.s())
then_together = Saga(
    "then-together",
    chain(
        group(
            step("add", to="sums", reads=True, args={"left": arg.left, "right": arg.right}),
            step("left", to="sums", do="double", reads=True, args=arg.left),
            step("right", to="sums", do="double", reads=True, args=arg.right),
        ),
        step("total", to="sums", reads=True, args=[result("add"), result("left"), result("right")]),
    ),
    version=1,
    result=result("total"),
)

# double.map(numbers)
of_each = Saga(
    "of-each",
    each(arg.numbers, step("double", to="sums", reads=True, args=item), at_most=20),
    version=1,
    result=result("double"),
)

# add.starmap(pairs)
of_each_pair = Saga(
    "of-each-pair",
    each(arg.pairs, step("add", to="sums", reads=True, args={"left": item[0], "right": item[1]})),
    version=1,
    result=result("add"),
)

# add.chunks(pairs, 2)
in_chunks = Saga(
    "in-chunks",
    each(arg.pairs, step("add-all", to="sums", reads=True, args=item), chunk=2),
    version=1,
    result=result("add-all"),
)
