"""What the calendar, reports from outside and the rules' hit counts look for."""

import django.contrib.postgres.indexes
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bots", "0011_moderation_panel")]

    operations = [
        AddIndexConcurrently(
            model_name="post",
            index=models.Index(
                condition=models.Q(("published_at__isnull", False)),
                fields=["bot", "published_at"],
                name="post_published",
            ),
        ),
        AddIndexConcurrently(
            model_name="post",
            index=django.contrib.postgres.indexes.HashIndex(
                condition=models.Q(("remote_url", ""), _negated=True), fields=["remote_url"], name="post_remote_url"
            ),
        ),
        AddIndexConcurrently(
            model_name="verdict",
            index=models.Index(
                condition=models.Q(("value__in", ["flag", "block"])), fields=["rule", "at"], name="verdict_hits"
            ),
        ),
    ]
