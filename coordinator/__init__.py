"""The coordinator decides: the words of the saga language. They need no extra; engine and doors are submodules."""

from amends.coordinator.language import Saga
from amends.coordinator.saga.nodes import (
    arg,
    call,
    chain,
    choose,
    each,
    emit,
    group,
    item,
    outer,
    pivot,
    result,
    retry,
    sleep,
    step,
    wait,
)

__all__ = [
    "Saga", "arg", "call", "chain", "choose", "each", "emit", "group", "item", "outer", "pivot", "result", "retry",
    "sleep", "step", "wait",
]  # fmt: skip
