"""What a statement really read, from PostgreSQL's own account of it: rows and pages, never times."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Connection


def plan(connection: Connection, statement: str, values: dict[str, object]) -> dict[str, Any]:
    """Run the statement, and give the root of its plan."""
    explained = connection.exec_driver_sql(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values
    ).scalar_one()
    tree = explained if isinstance(explained, list) else json.loads(explained)
    root: dict[str, Any] = tree[0]["Plan"]
    return root


def nodes(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The plan's nodes, each before those below it."""
    yield root
    for child in root.get("Plans", ()):
        yield from nodes(child)


def rows_read(root: dict[str, Any], tables: Collection[str] | None = None) -> int:
    """Rows that scans of these tables (None: of any) looked at, returned or thrown away."""
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes(root)
        if "Scan" in node["Node Type"]
        and "Relation Name" in node
        and (tables is None or node["Relation Name"] in tables)
    )


def pages_read(root: dict[str, Any]) -> int:
    """Pages of tables and indexes, in memory or not."""
    return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])
