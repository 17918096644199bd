"""Domain events and the news of ended sagas, on real brokers and databases."""
