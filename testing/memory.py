"""What handlers keep in memory, so that a process that dies can lose it: their modules' variables and their closures.

That is dicts, lists, sets, plain values, and the attributes of objects whose class stands in the handlers' own module.
What else they hold (engines, clients, registries) is left alone.
"""

from __future__ import annotations

import copy
import inspect
from collections import deque
from collections.abc import Callable, Iterable
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

_PLAIN: Final = (bool, int, float, complex, str, bytes, frozenset, tuple, type(None))
_CONTAINERS: Final = (dict, list, set, deque, bytearray)

Restore = Callable[[], None]


class Memory:
    """What the handlers' process remembers at this moment; `lose` makes it so again, as after a restart."""

    def __init__(self, functions: Iterable[Callable[..., Any]], *, outside: Iterable[object] = ()) -> None:
        """`outside` are objects that outlive the process, such as the stand-in for a payment provider."""
        self._outside = {id(one) for one in outside}
        self._restore: list[Restore] = []
        self._seen: set[int] = set()
        for function in functions:
            self._keep_function(inspect.unwrap(function))

    def lose(self) -> None:
        """The process dies, and another takes its place."""
        for restore in self._restore:
            restore()

    def _keep_function(self, function: Any) -> None:
        if isinstance(function, MethodType):
            self._keep_object(function.__self__, str(function.__module__))
            function = function.__func__
        if not isinstance(function, FunctionType) or id(function) in self._seen:
            return
        self._seen.add(id(function))
        if id(function.__globals__) not in self._seen:
            self._seen.add(id(function.__globals__))
            self._keep_names(function.__globals__)
        for cell in function.__closure__ or ():
            if id(cell) not in self._seen:
                self._seen.add(id(cell))
                self._keep_cell(cell, str(function.__module__))

    def _keep_names(self, names: dict[str, Any]) -> None:
        module = str(names.get("__name__"))
        for name, value in list(names.items()):
            if name.startswith("__") or isinstance(value, ModuleType | type) or id(value) in self._outside:
                continue
            if isinstance(value, _PLAIN):
                self._restore.append(_rebinding(names, name, value))
            else:
                self._keep_object(value, module)

    def _keep_cell(self, cell: Any, module: str) -> None:
        try:
            value = cell.cell_contents
        except ValueError:
            return  # A name that is not bound yet.
        if id(value) in self._outside:
            return
        if isinstance(value, _PLAIN):
            self._restore.append(lambda: setattr(cell, "cell_contents", value))
        elif isinstance(value, FunctionType | MethodType):
            self._keep_function(value)
        else:
            self._keep_object(value, module)

    def _keep_object(self, value: Any, module: str) -> None:
        if id(value) in self._outside:
            return
        if isinstance(value, _CONTAINERS):
            self._restore.append(_refilling(value))
        elif type(value).__module__ == module and hasattr(value, "__dict__"):
            self._restore.append(_refilling(vars(value)))


def kept(objects: Iterable[object]) -> Restore:
    """What puts these back as they are now."""
    restores = [_refilling(vars(one) if hasattr(one, "__dict__") else one) for one in objects]

    def put_back() -> None:
        for restore in restores:
            restore()

    return put_back


def image(value: Any) -> str:
    """What an object holds, to be compared with what it holds later."""
    held = vars(value) if hasattr(value, "__dict__") else value
    return repr(held)


def _rebinding(names: dict[str, Any], name: str, value: Any) -> Restore:
    def rebind() -> None:
        names[name] = value

    return rebind


def _refilling(container: Any) -> Restore:
    kept = _copied(container)

    def refill() -> None:
        fresh = _copied(kept)
        container.clear()
        if isinstance(container, dict | set):
            container.update(fresh)
        else:
            container.extend(fresh)

    return refill


def _copied(container: Any) -> Any:
    """A copy down to plain values; of what holds anything else a shallow one, so that engines are not doubled."""
    return copy.deepcopy(container) if _is_data(container) else copy.copy(container)


def _is_data(value: Any, depth: int = 0) -> bool:
    if depth > 20:
        return False
    if isinstance(value, dict):
        return all(_is_data(one, depth + 1) for pair in value.items() for one in pair)
    if isinstance(value, list | set | frozenset | tuple | deque):
        return all(_is_data(one, depth + 1) for one in value)
    return isinstance(value, (*_PLAIN, bytearray))
