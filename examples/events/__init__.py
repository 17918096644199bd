"""A service tells of its users; two handlers of another hear of it."""
