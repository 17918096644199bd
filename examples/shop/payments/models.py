"""What was charged, and whether it was given back."""

from __future__ import annotations

from django.db import models


class Payment(models.Model):
    order = models.CharField(max_length=40, unique=True)
    cents = models.IntegerField()
    refunded = models.BooleanField(default=False)
