"""Mails, and who wants them."""

from __future__ import annotations

from django.db import models


class Mail(models.Model):
    to = models.CharField(max_length=254)
    text = models.CharField(max_length=200)
    sent = models.BooleanField(default=False)


class Preference(models.Model):
    email = models.EmailField(unique=True)
    newsletter = models.BooleanField(default=False)
