"""Finds the participant that `module:object` or a TOML file names, and says what is wrong where it does not."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from amends.participants.errors import NotLoadable
from amends.participants.participant import Participant


def load_participant(reference: str) -> Participant:
    """Import `module` and take its `object`, or read the TOML file that declares it (`amends.participants.http`).

    The current directory may be imported from.
    Raises: NotLoadable, which says what is missing and what there is instead; InvalidDeclaration, MissingExtra.
    """
    if reference.endswith(".toml"):
        from amends.participants.http import participant_from_file

        return participant_from_file(reference)
    module_name, colon, name = reference.partition(":")
    if not (colon and module_name and name):
        raise NotLoadable(
            f"{reference!r} is neither module:object, as `shop.payments:payments`, nor a file.toml"
        )
    module = _import(module_name)
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Participant):
        raise NotLoadable(f"{reference!r} is no Participant; {_participants_in(module)}")
    return found


def _import(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise NotLoadable(
                f"there is no module {missing!r} (looked in {here} and the installed packages); "
                f"run this where {name!r} can be imported"
            ) from None
        raise NotLoadable(f"module {name!r} needs {missing!r}, which is not installed here") from error
    except Exception as error:
        raise NotLoadable(
            f"importing {name!r} failed{_where(error)}: {type(error).__name__}: {error}"
        ) from error


def _where(error: Exception) -> str:
    """Where the author's own code stood: not inside this package, which refused it, nor inside importlib."""
    ours = ("<frozen", str(Path(__file__).parent) + os.sep)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(ours) and "importlib" not in frame.filename
    ]
    if not frames or isinstance(error, SyntaxError):  # Its text names the place itself.
        return ""
    return f" at {frames[-1].filename}:{frames[-1].lineno}"


def _participants_in(module: ModuleType) -> str:
    names = sorted(name for name, value in vars(module).items() if isinstance(value, Participant))
    return f"its participants: {', '.join(names)}" if names else f"{module.__name__} has none"
