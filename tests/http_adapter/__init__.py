"""The HTTP adapter against a real server that misbehaves."""
