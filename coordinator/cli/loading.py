"""Finds the saga that `module:saga` names, and says what is wrong where it does not."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from amends.coordinator.errors import NotLoadable
from amends.coordinator.language import Saga


def load_saga(reference: str) -> Saga:
    """Import `module` and take its `saga`. The current directory may be imported from.

    Raises: NotLoadable, which says what is missing and what there is instead.
    """
    module_name, colon, name = reference.partition(":")
    if not (colon and module_name and name):
        raise NotLoadable(f"{reference!r} is not module:saga; write it as `shop.sagas:place_order`")
    module = _import(module_name)
    found: object = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NotLoadable(f"module {module_name!r} has no {name!r}; {_sagas_in(module)}") from None
    if not isinstance(found, Saga):
        raise NotLoadable(f"{reference!r} is a {type(found).__name__}, not a Saga; {_sagas_in(module)}")
    return found


def _import(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise NotLoadable(
                f"there is no module {error.name!r} (looked in {here} and the installed packages); "
                f"run this where {name!r} can be imported"
            ) from None
        raise NotLoadable(f"module {name!r} needs {error.name!r}, which is not installed here") from error
    except Exception as error:
        raise NotLoadable(
            f"importing {name!r} failed{_where(error)}: {type(error).__name__}: {error}"
        ) from error


def _where(error: Exception) -> str:
    """Where the author's own code stood: not inside this package, which refused it, nor inside importlib."""
    ours = ("<frozen", str(Path(__file__).parents[1]) + os.sep)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(ours) and "importlib" not in frame.filename
    ]
    if not frames or isinstance(error, SyntaxError):  # Its text names the place itself.
        return ""
    return f" at {frames[-1].filename}:{frames[-1].lineno}"


def _sagas_in(module: ModuleType) -> str:
    names = sorted(name for name, value in vars(module).items() if isinstance(value, Saga))
    return f"its sagas: {', '.join(names)}" if names else "it defines no saga"
