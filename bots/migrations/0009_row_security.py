"""PostgreSQL shows a statement the rows of its own organization only."""

from django.db import migrations

from accounts.constraints import row_security

TABLES = [
    "bots_bot",
    "bots_decision",
    "bots_incoming",
    "bots_post",
    "bots_postimage",
    "bots_replycandidate",
    "bots_replyrules",
    "bots_reward",
    "bots_schedule",
    "bots_scoreobservation",
    "bots_verdict",
]


class Migration(migrations.Migration):
    dependencies = [("bots", "0008_sizes")]

    operations = [row_security(table) for table in TABLES]
