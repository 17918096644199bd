"""Create the table of semantic locks."""

from __future__ import annotations

from django.db import migrations

from amends.participants.django.operations import CreateTables


class Migration(migrations.Migration):
    """No model: `amends locks` looks at them."""

    dependencies = (("amends", "0001_first"),)

    operations = (CreateTables("0002"),)
