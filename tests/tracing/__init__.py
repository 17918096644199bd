"""Traces across client, coordinator, relay and participants."""
