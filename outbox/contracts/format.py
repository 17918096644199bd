"""The contract file: a participant's commands with the JSON Schemas of their payloads, and their undos and confirms.

`docs/definitions.md` tells the same for participants in other languages. Unknown fields are ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from amends.outbox.errors import InvalidContract
from amends.outbox.wire import Op

FORMAT: Final = 1

Schema: TypeAlias = bool | dict[str, Any]


class HandlerContract(msgspec.Struct, frozen=True, kw_only=True):
    """One handler: `args` is what it takes, `result` what it gives; of an undo or confirm, the command's it is for."""

    args: Schema = True
    result: Schema = True


class CommandContract(HandlerContract, frozen=True, kw_only=True):
    """One command, and the handlers that undo and confirm it, by name."""

    undo: dict[str, HandlerContract] = {}
    confirm: dict[str, HandlerContract] = {}


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What one participant takes. `amends_contract` is the format's number."""

    amends_contract: int
    participant: str
    commands: dict[str, CommandContract]

    def handlers(self) -> list[tuple[Op, str]]:
        """Every handler, sorted; one that undoes several commands is one."""
        found = {(Op.DO, name) for name in self.commands}
        for command in self.commands.values():
            found |= {(Op.UNDO, name) for name in command.undo}
            found |= {(Op.CONFIRM, name) for name in command.confirm}
        return sorted(found)


_decoder: Final = msgspec.json.Decoder(Contract)


def read(text: bytes, where: str) -> Contract:
    """A contract from its JSON. Raises: InvalidContract, which says where and what is wrong."""
    try:
        contract = _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidContract(
            f"{where} is no contract: {error}; write one with `amends contract export module:participant`"
        ) from error
    if contract.amends_contract != FORMAT:
        raise InvalidContract(
            f"{where} has the format {contract.amends_contract}, and this release reads {FORMAT}; "
            f"export it again with this release"
        )
    return contract


def load(path: Path) -> Contract:
    """A contract from a file. Raises: InvalidContract."""
    try:
        return read(path.read_bytes(), str(path))
    except OSError as error:
        raise InvalidContract(f"{path} cannot be read: {error.strerror}") from error


def written(contract: Contract) -> str:
    """The JSON of a contract, for a file: sorted, so that two exports differ in what changed alone."""
    return msgspec.json.format(msgspec.json.encode(contract, order="sorted"), indent=2).decode()
