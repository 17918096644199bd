"""Commands of the Django app: `manage.py amends_participant`."""
