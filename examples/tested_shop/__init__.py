"""A small shop and its tests, written with the test kit (docs/testing.md)."""
