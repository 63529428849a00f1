"""Rows point only into their own organization."""

from django.db import migrations

from accounts.constraints import append_only, tenant_foreign_key


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        tenant_foreign_key("accounts_apitoken", "membership_id", "accounts_membership"),
        append_only("accounts_auditentry"),
    ]
