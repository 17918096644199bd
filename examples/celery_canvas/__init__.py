"""Celery's canvas and the saga language, side by side: the same work, both ways."""
