"""Contracts: what commands a participant takes, as data that both sides can hold against each other."""
