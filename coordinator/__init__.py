"""The coordinator decides: the words of the saga language. They need no extra; engine and doors are submodules."""

from amends.coordinator.language import Saga
from amends.coordinator.saga.nodes import arg, chain, group, pivot, result, retry, step

__all__ = ["Saga", "arg", "chain", "group", "pivot", "result", "retry", "step"]
