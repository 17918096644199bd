"""Parcels, and where a customer wants them by default."""

from __future__ import annotations

from django.db import models


class Parcel(models.Model):
    order = models.CharField(max_length=40, unique=True)
    label = models.CharField(max_length=200)
    customer = models.CharField(max_length=60)
    cents = models.IntegerField()
    tax_percent = models.IntegerField()


class Default(models.Model):
    email = models.EmailField(unique=True)
    country = models.CharField(max_length=2)
