from django.apps import AppConfig

from accounts import vault


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        vault.register("accounts.Webhook", "secrets")
