"""The transactional outbox: wire contract, table, relay and publishing drivers. Usable without sagas."""
