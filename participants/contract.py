"""A participant's contract: its commands with the JSON Schemas that its handlers' signatures give."""

from __future__ import annotations

from typing import Any

import msgspec

from amends.outbox.contracts.format import FORMAT, CommandContract, Contract, HandlerContract, Schema
from amends.outbox.wire import Op
from amends.participants.participant import Handler, Participant
from amends.participants.payloads import PayloadReader, uses_pydantic


def contract_of(participant: Participant) -> Contract:
    """What this participant takes, as data. Registers nothing and does no I/O."""
    commands = {}
    for name in participant.names(Op.DO):
        handler = participant.find(Op.DO, name)
        assert handler is not None  # It is one of the names.
        own = _handler(handler)
        commands[name] = CommandContract(
            args=own.args,
            result=own.result,
            undo=_beside(participant, Op.UNDO, name),
            confirm=_beside(participant, Op.CONFIRM, name),
        )
    return Contract(amends_contract=FORMAT, participant=participant.name, commands=commands)


def _beside(participant: Participant, op: Op, command: str) -> dict[str, HandlerContract]:
    found = {name: participant.find(op, name) for name in participant.beside(op, command)}
    return {name: _handler(handler) for name, handler in found.items() if handler is not None}


def _handler(handler: Handler) -> HandlerContract:
    signature = handler.signature
    args = _read_by(signature.command)
    if handler.op is Op.DO:
        return HandlerContract(args=args, result=schema_of(signature.returns))
    return HandlerContract(args=args, result=_read_by(signature.result))


def _read_by(reader: PayloadReader | None) -> Schema:
    return True if reader is None else schema_of(reader.declared)


def schema_of(declared: Any) -> Schema:
    """The JSON Schema of a payload's type; `true`, which takes anything, where there is none."""
    if declared is Any or declared is None:
        return True if declared is Any else {"type": "null"}
    try:
        if uses_pydantic(declared):
            from pydantic import TypeAdapter

            return TypeAdapter(declared).json_schema()
        return msgspec.json.schema(declared)
    except (TypeError, ValueError, RuntimeError):
        return True
