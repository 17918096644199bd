"""The outbox without a saga: a table and an event that cannot contradict each other."""
