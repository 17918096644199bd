"""Create a participant's tables: outbox, owners, barrier, version."""

from __future__ import annotations

from django.db import migrations, models

from amends.participants.django.operations import CreateTables


class Migration(migrations.Migration):
    """The models are Django's way to look at two of them, and make nothing."""

    initial = True

    dependencies = ()

    operations = (
        CreateTables("0001"),
        migrations.CreateModel(
            name="OutboxMessage",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("message_id", models.CharField(max_length=64)),
                ("exchange", models.CharField(blank=True, max_length=255)),
                ("routing_key", models.CharField(max_length=255)),
                ("type", models.CharField(max_length=255)),
                ("correlation_id", models.CharField(max_length=255, null=True)),
                ("reply_to", models.CharField(max_length=255, null=True)),
                ("headers", models.TextField()),
                ("expiration_ms", models.BigIntegerField(null=True)),
                ("body", models.BinaryField()),
                ("ordering_key", models.CharField(max_length=255, null=True)),
                ("needs_receipt", models.BooleanField()),
                ("created_at", models.DateTimeField()),
                ("due_at", models.DateTimeField()),
                ("owner", models.UUIDField(null=True)),
                ("leased_until", models.DateTimeField(null=True)),
                ("attempts", models.IntegerField()),
                ("sent_at", models.DateTimeField(null=True)),
                ("returned_since", models.DateTimeField(null=True)),
                ("parked_at", models.DateTimeField(null=True)),
                ("last_error", models.TextField(null=True)),
            ],
            options={
                "verbose_name": "outbox message",
                "db_table": "amends_outbox",
                "ordering": ("-id",),
                "permissions": (("retry_outboxmessage", "Can retry parked outbox messages"),),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="BarrierRow",
            fields=[
                ("saga_id", models.UUIDField(primary_key=True, serialize=False)),
                ("path", models.CharField(max_length=300)),
                ("op", models.CharField(max_length=16)),
                ("round", models.IntegerField()),
                ("outcome", models.CharField(max_length=16)),
                ("certain", models.BooleanField()),
                ("final", models.BooleanField()),
                ("reason", models.TextField(blank=True)),
                ("args", models.BinaryField(null=True)),
                ("result", models.BinaryField(null=True)),
                ("leased_until", models.DateTimeField(null=True)),
                ("lease_token", models.UUIDField(null=True)),
                ("calls", models.IntegerField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "barrier row",
                "db_table": "amends_barrier",
                "ordering": ("-at", "saga_id", "path", "op"),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    )
