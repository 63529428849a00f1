from django.apps import AppConfig

from accounts import vault


class FacesConfig(AppConfig):
    name = "faces"

    def ready(self) -> None:
        from accounts import audit_log, leaving
        from faces import portability
        from faces.health import forget_checks
        from faces.kinds.sandbox.models import remove_images
        from faces.models import Connection

        portability.register_models()
        leaving.register_purger(remove_images)
        leaving.register_purger(forget_checks)
        audit_log.register_page(Connection, "faces:connection", "pk")
        vault.register("faces.Connection", "credentials")
        vault.register("faces.Authorization", "credentials")
