"""Starlette's TestClient, which warns that httpx will give way to its successor: ours to wait for, not to repeat."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Using `httpx`")
    from starlette.testclient import TestClient

__all__ = ["TestClient"]
