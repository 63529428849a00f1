"""Rows point only into their own organization."""

from django.db import migrations

from accounts.constraints import tenant_foreign_key


class Migration(migrations.Migration):
    dependencies = [("bots", "0001_initial")]

    operations = [
        tenant_foreign_key("bots_bot", "connection_id", "faces_connection"),
        tenant_foreign_key("bots_schedule", "bot_id", "bots_bot"),
        tenant_foreign_key("bots_post", "bot_id", "bots_bot"),
        tenant_foreign_key("bots_post", "connection_id", "faces_connection"),
        tenant_foreign_key("bots_post", "schedule_id", "bots_schedule"),
        tenant_foreign_key("bots_postimage", "post_id", "bots_post"),
        tenant_foreign_key("bots_scoreobservation", "post_id", "bots_post"),
        tenant_foreign_key("bots_reward", "post_id", "bots_post"),
        tenant_foreign_key("bots_reward", "observation_id", "bots_scoreobservation"),
        tenant_foreign_key("bots_verdict", "post_id", "bots_post"),
    ]
