"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.signals import setting_changed


class AmendsConfig(AppConfig):
    """Label `amends`: what routers and `migrate` know it by."""

    name = "amends.participants.django"
    label = "amends"
    verbose_name = "amends"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let `manage.py check` look at `settings.AMENDS`, and tests override it."""
        from amends.participants.django.settings import check, forget

        checks.register(check)
        setting_changed.connect(forget)
