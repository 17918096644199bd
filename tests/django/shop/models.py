"""What a service keeps by the ORM."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """Its number is unique, so that a second one can be refused."""

    number = models.CharField(max_length=40, unique=True)
    placed_at = models.DateTimeField(null=True)
    lines = models.JSONField(default=list)

    class Meta:
        app_label = "shop"
