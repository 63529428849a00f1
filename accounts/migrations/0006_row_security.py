"""PostgreSQL shows a statement the rows of its own organization only."""

from django.db import migrations

from accounts.constraints import row_security

TABLES = [
    "accounts_apitoken",
    "accounts_auditentry",
    "accounts_consumption",
    "accounts_export",
    "accounts_idempotencykey",
    "accounts_invitation",
    "accounts_membership",
    "accounts_webhook",
    "accounts_webhookdelivery",
]


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_verified_addresses")]

    operations = [row_security(table) for table in TABLES]
