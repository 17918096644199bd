"""A calculator to call, also as a program of its own: `python -m tests.calls.servers`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from msgspec import Struct
from sqlalchemy import text

from amends.participants import Ctx, Failed, Participant, Refused

calculator = Participant("calculator")


class Add(Struct):
    a: int
    b: int


class Sum(Struct):
    total: int


@calculator.command
def add(cmd: Add) -> Sum:
    return Sum(cmd.a + cmd.b)


@calculator.command
def divide(cmd: Add) -> float:
    if cmd.b == 0:
        raise Refused("division by zero")
    return cmd.a / cmd.b


@calculator.command
def doubt(cmd: Add) -> float:
    raise Failed("not today", retry_after_s=7)


@calculator.command
def large(cmd: Add) -> str:
    return "x" * cmd.a


@calculator.command
def tally(cmd: Add, ctx: Ctx) -> int:
    """How often this was obeyed: an effect in the database."""
    ctx.connection.execute(text("CREATE TABLE IF NOT EXISTS tally (call text)"))
    ctx.connection.execute(text("INSERT INTO tally VALUES (:call)"), {"call": ctx.saga})
    return cmd.a


@calculator.command
def die_once(cmd: Add, ctx: Ctx) -> str:
    """Kills its process in mid-call, the first time; the file says that it did."""
    ctx.connection.execute(text("CREATE TABLE IF NOT EXISTS tally (call text)"))
    ctx.connection.execute(text("INSERT INTO tally VALUES (:call)"), {"call": ctx.saga})
    marker = Path(os.environ["CALLS_MARKER"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), 9)
    return "alive"


@calculator.command
def slow(cmd: Add) -> int:
    """Takes `a` milliseconds."""
    time.sleep(cmd.a / 1000)
    return cmd.a
