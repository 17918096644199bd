"""What a new contract breaks of an old one: for whoever sends its commands, and for whoever reads their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from amends.outbox.contracts.fitting import Misfit, Side, misfits
from amends.outbox.contracts.format import Contract, HandlerContract


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that worked under the old contract and may not under the new one."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def breaks(old: Contract, new: Contract) -> list[Break]:
    """Everything that breaks, in the order of the old contract; none if sagas that fit the old fit the new."""
    found = []
    if old.participant != new.participant:
        found.append(
            Break("participant", f"was {old.participant!r} and is {new.participant!r}: steps go elsewhere")
        )
    for name, command in old.commands.items():
        later = new.commands.get(name)
        if later is None:
            found.append(
                Break(name, "the command is gone; keep it until no saga needs it (`amends contract unused`)")
            )
            continue
        found.extend(_handler(name, command, later))
        for word, before, after in (
            ("undo", command.undo, later.undo),
            ("confirm", command.confirm, later.confirm),
        ):
            found.extend(_beside(name, word, before, after))
    return found


def _beside(
    command: str, word: str, old: Mapping[str, HandlerContract], new: Mapping[str, HandlerContract]
) -> Iterator[Break]:
    for name, handler in old.items():
        later = new.get(name)
        place = f"{command}: {word} {name}"
        if later is None:
            yield Break(place, f"the handler is gone; what ran before still has to be {_DONE[word]}: keep it")
            continue
        # It is called with args and results that were stored while the old contract held.
        for part in ("args", "result"):
            yield from _told(
                f"{place}: {part}", misfits(_side(handler, part), _side(later, part), strict=True)
            )


_DONE = {"undo": "undone", "confirm": "confirmed"}


def _handler(name: str, old: HandlerContract, new: HandlerContract) -> Iterator[Break]:
    yield from _told(f"{name}: args", misfits(_side(old, "args"), _side(new, "args"), strict=True))
    # The other way round: whoever reads the result counted on what the old one promised.
    yield from _told(f"{name}: result", misfits(_side(new, "result"), _side(old, "result"), strict=True))
    before, after = (_side(one, "result") for one in (old, new))
    kept = after.inner(after.schema).says.get("properties", {})
    for gone in before.inner(before.schema).says.get("properties", {}):
        if gone not in kept and gone not in before.inner(before.schema).says.get("required", []):
            yield Break(f"{name}: result.{gone}", "the field is gone; sagas may refer to it")


def _side(handler: HandlerContract, part: str) -> Side:
    return Side.of(handler.args if part == "args" else handler.result)


def _told(place: str, found: Iterator[Misfit]) -> Iterator[Break]:
    for misfit in found:
        yield Break(place + misfit.at, misfit.text)
