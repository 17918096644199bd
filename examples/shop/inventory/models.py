"""Articles, and what of them is reserved for whom."""

from __future__ import annotations

from django.db import models


class Article(models.Model):
    sku = models.CharField(max_length=20, unique=True)
    cents = models.IntegerField()
    pieces = models.IntegerField()


class Reservation(models.Model):
    order = models.CharField(max_length=40, unique=True)
    article = models.ForeignKey(Article, on_delete=models.CASCADE)
    pieces = models.IntegerField()
