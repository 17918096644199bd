"""A user is active once the onboarding is done."""

from __future__ import annotations

from django.db import models


class User(models.Model):
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=60)
    country = models.CharField(max_length=2)
    active = models.BooleanField(default=False)
    password = models.CharField(max_length=128, blank=True)
    logins = models.IntegerField(default=0)


class Profile(models.Model):
    user = models.OneToOneField(User, on_delete=models.CASCADE)


class Role(models.Model):
    user = models.OneToOneField(User, on_delete=models.CASCADE)
    name = models.CharField(max_length=20)
