"""PostgreSQL shows a statement the rows of its own organization only."""

from django.db import migrations

from accounts.constraints import row_security

TABLES = [
    "faces_authorization",
    "faces_billedread",
    "faces_connection",
    "faces_sandboxpost",
    "faces_sandboxworld",
    "faces_usage",
]


class Migration(migrations.Migration):
    dependencies = [("faces", "0006_budget_is_positive")]

    operations = [row_security(table) for table in TABLES]
