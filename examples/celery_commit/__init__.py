"""Conditional commit with Celery: many managers, a hundred Celery tasks each, all or nothing."""
