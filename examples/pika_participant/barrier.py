"""The barrier of docs/protocol.md, for handlers whose effects are in the same PostgreSQL. Nothing of amends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from psycopg import Connection

Json = dict[str, Any]
Handler = Callable[[Connection[Json], Any], Any]

RETENTION_MS = 30 * 86_400_000
DAY_MS = 86_400_000

TABLE = """
CREATE TABLE IF NOT EXISTS amends_barrier (
    saga_id uuid NOT NULL, path varchar(300) NOT NULL, op varchar(16) NOT NULL, round integer NOT NULL,
    outcome varchar(16) NOT NULL, final boolean NOT NULL DEFAULT false, reason text NOT NULL DEFAULT '',
    args jsonb, result jsonb, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (saga_id, path, op))
"""
KEY = "saga_id = %(saga)s AND path = %(path)s"
CLAIM = """
INSERT INTO amends_barrier (saga_id, path, op, round, outcome)
VALUES (%(saga)s, %(path)s, %(op)s, %(round)s, %(outcome)s) ON CONFLICT DO NOTHING
"""
HOLD = f"SELECT * FROM amends_barrier WHERE {KEY} AND op = %(op)s FOR UPDATE"
KNOWN = f"SELECT 1 FROM amends_barrier WHERE {KEY}"
STORE = f"""
UPDATE amends_barrier SET outcome = %(outcome)s, round = %(round)s, reason = %(reason)s, args = %(args)s,
    result = %(result)s, at = now()
WHERE {KEY} AND op = %(op)s
"""
FINAL = f"UPDATE amends_barrier SET final = true WHERE {KEY} AND op = 'do'"


class No(Exception):
    """A business no: nothing happened, and asking again would not help."""


class Expired(Exception):
    """Older than what the barrier remembers."""


class Barrier:
    """Takes one command through its rules, in the transaction that is open on the connection."""

    def __init__(self, db: Connection[Json], command: Json) -> None:
        self.db = db
        self.command = command
        self.key = {"saga": command["saga"], "path": command["path"], "round": command["round"]}

    def do(self, handler: Handler) -> Json:
        row = self.claim("do", "calling")
        # Only now that the do row is held: an undo may have come in between.
        undo = self.db.execute(HOLD, {**self.key, "op": "undo"}).fetchone()
        if undo or (row and row["outcome"] == "never"):
            return {"outcome": "refused", "reason": "undone or fenced"}
        if row and (row["outcome"] == "done" or row["final"] or self.command["round"] <= row["round"]):
            return self.again(row)
        args = self.command.get("args")
        try:
            with self.db.transaction():  # The savepoint.
                result = handler(self.db, args)
        except No as no:
            self.store("do", "refused", reason=str(no), args=args)
            return {"outcome": "refused", "reason": str(no)}
        self.store("do", "done", args=args, result=result)
        return {"outcome": "done", "result": result}

    def undo(self, handler: Handler) -> Json:
        own = self.claim("undo", "nothing")
        if own:
            return {"outcome": own["outcome"]}
        do = self.claim("do", "never")
        if do is None or do["outcome"] != "done":
            return {"outcome": "nothing"}
        handler(self.db, do["args"])
        self.store("undo", "done")
        return {"outcome": "done"}

    def fence(self) -> Json:
        closes = self.command.get("closes", "do")
        if closes != "do":
            own = self.claim(closes, "never")
            if own is None and closes == "undo":
                self.claim("do", "never")
            return {"outcome": own["outcome"] if own else "never"}
        row = self.claim("do", "never")
        if row is None or row["outcome"] == "never":
            return {"outcome": "never"}
        if row["outcome"] == "refused":
            self.db.execute(FINAL, self.key)
        return self.again(row)

    def claim(self, op: str, outcome: str) -> Json | None:
        """None: the row is new and ours. Otherwise the row that stands, held until the transaction ends."""
        wanted = {**self.key, "op": op, "outcome": outcome}
        too_old = self.command["started_at"] < time.time() * 1000 - RETENTION_MS + DAY_MS
        if too_old and not self.db.execute(KNOWN, wanted).fetchone():
            raise Expired
        if self.db.execute(CLAIM, wanted).rowcount:
            return None
        return self.db.execute(HOLD, wanted).fetchone()

    def store(self, op: str, outcome: str, *, reason: str = "", args: Any = None, result: Any = None) -> None:
        told = {"op": op, "outcome": outcome, "reason": reason}
        self.db.execute(STORE, {**self.key, **told, "args": json.dumps(args), "result": json.dumps(result)})

    def again(self, row: Json) -> Json:
        answer = {"outcome": row["outcome"], "reason": row["reason"], "result": row["result"]}
        return answer if row["round"] == self.command["round"] else {**answer, "ran_in_round": row["round"]}
