"""The barrier: what makes it safe to send any command twice, late, or in the wrong order (rules B)."""
