"""Lists of an organization, newest first, read an index and not all of its rows."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bots", "0009_row_security")]

    operations = [
        AddIndexConcurrently("post", models.Index(fields=["organization", "-created_at", "-id"], name="post_newest")),
        AddIndexConcurrently(
            "scoreobservation", models.Index(fields=["organization", "-observed_at", "-id"], name="observation_newest")
        ),
    ]
