"""Rows point only into their own organization."""

from django.db import migrations

from accounts.constraints import tenant_foreign_key


class Migration(migrations.Migration):
    dependencies = [("faces", "0001_initial")]

    operations = [
        tenant_foreign_key("faces_sandboxworld", "connection_id", "faces_connection"),
        tenant_foreign_key("faces_sandboxpost", "connection_id", "faces_connection"),
    ]
