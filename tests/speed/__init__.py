"""Guards against a lost order of magnitude: what is counted here does not depend on the machine, and none is timed."""
