"""Servers that compute, a client that asks them and waits, and callback workers that take answers in its stead."""
