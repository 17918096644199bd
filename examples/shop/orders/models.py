"""An order is placed by a request; the saga accepts it, and then confirms or cancels it."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=40, unique=True)
    status = models.CharField(max_length=10, default="placed")
    parcel = models.IntegerField(null=True)
