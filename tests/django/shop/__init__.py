"""A Django app of a service."""
