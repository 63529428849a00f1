"""Requests for texts that belong together are found by their group."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("training", "0008_telemetry_and_shares")]

    operations = [
        AddIndexConcurrently(
            model_name="generation",
            index=models.Index(condition=models.Q(("group__isnull", False)), fields=["group"], name="generation_group"),
        ),
    ]
