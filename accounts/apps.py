from django.apps import AppConfig
from django.db.backends.signals import connection_created

from accounts import vault


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts import exporting, leaving, portability, row_security

        connection_created.connect(row_security.on_connected)
        vault.register("accounts.Webhook", "secrets")
        vault.register("accounts.IdempotencyKey", "body")
        portability.register_models()
        leaving.register_purger(exporting.purge)
