"""Domain events: what a service tells others with `emit`, and hears of with `@participant.on`."""
