KILLED_BY: dict[str, int] = {}
