"""Two servers. Each is run as a pool of processes: `amends participant ... --processes 3`."""

from msgspec import Struct

from amends.participants import Participant, Refused

calculator = Participant("calculator")
fibonacci = Participant("fibonacci")


class Add(Struct):
    a: int
    b: int


class Number(Struct):
    n: int


@calculator.command
def add(cmd: Add) -> int:
    return cmd.a + cmd.b


@fibonacci.command
def compute(cmd: Number) -> int:
    if cmd.n < 0:
        raise Refused("there is no such Fibonacci number")
    return slowly(cmd.n)


def slowly(n: int) -> int:
    return n if n < 2 else slowly(n - 1) + slowly(n - 2)
