"""The tables of amends as Django's models, for looking at them: nothing of amends goes through them.

Django does not manage them: `amends.participants.django.operations` makes them.
"""

from __future__ import annotations

from django.db import models


class OutboxMessage(models.Model):
    """A message on its way to the broker, or one that waits for its receipt or for an operator."""

    id = models.BigAutoField(primary_key=True)
    message_id = models.CharField(max_length=64)
    exchange = models.CharField(max_length=255, blank=True)
    routing_key = models.CharField(max_length=255)
    type = models.CharField(max_length=255)
    correlation_id = models.CharField(max_length=255, null=True)
    reply_to = models.CharField(max_length=255, null=True)
    headers = models.TextField()
    expiration_ms = models.BigIntegerField(null=True)
    body = models.BinaryField()
    ordering_key = models.CharField(max_length=255, null=True)
    needs_receipt = models.BooleanField()
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    owner = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True)
    attempts = models.IntegerField()
    sent_at = models.DateTimeField(null=True)
    returned_since = models.DateTimeField(null=True)
    parked_at = models.DateTimeField(null=True)
    last_error = models.TextField(null=True)

    class Meta:
        app_label = "amends"
        db_table = "amends_outbox"
        managed = False
        ordering = ("-id",)
        verbose_name = "outbox message"
        default_permissions = ("view",)
        permissions = (("retry_outboxmessage", "Can retry parked outbox messages"),)

    def __str__(self) -> str:
        """For lists."""
        return f"{self.id} {self.type} to {self.exchange or self.routing_key}"

    @property
    def standing(self) -> str:
        """Where it stands: `parked`, `awaiting receipt` or `pending`."""
        if self.parked_at is not None:
            return "parked"
        return "pending" if self.sent_at is None else "awaiting receipt"


class BarrierRow(models.Model):
    """What became of one command: of an op of a step of a saga.

    The key is (saga_id, path, op). Django is told of the saga alone, since it wants one column: never fetch, save or
    delete a row by `pk`.
    """

    saga_id = models.UUIDField(primary_key=True)
    path = models.CharField(max_length=300)
    op = models.CharField(max_length=16)
    round = models.IntegerField()
    outcome = models.CharField(max_length=16)
    certain = models.BooleanField()
    final = models.BooleanField()
    reason = models.TextField(blank=True)
    args = models.BinaryField(null=True)
    result = models.BinaryField(null=True)
    leased_until = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True)
    calls = models.IntegerField()
    at = models.DateTimeField()

    class Meta:
        app_label = "amends"
        db_table = "amends_barrier"
        managed = False
        ordering = ("-at", "saga_id", "path", "op")
        verbose_name = "barrier row"
        default_permissions = ("view",)

    def __str__(self) -> str:
        """For lists."""
        return f"{self.op} {self.path} of {self.saga_id}: {self.outcome}"
