"""An order is placed by a request; the saga accepts it, and then confirms or cancels it. And who orders."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=40, unique=True)
    status = models.CharField(max_length=10, default="placed")
    parcel = models.IntegerField(null=True)


class Customer(models.Model):
    """What the users' service has told. `row` is its newest event's: what was overtaken by that says nothing new."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=60)
    gone = models.BooleanField(default=False)
    row = models.BigIntegerField(default=0)
