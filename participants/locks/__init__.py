"""Semantic locks: names that a saga holds in a participant's database until it ends (rules L)."""
