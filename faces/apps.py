from django.apps import AppConfig

from accounts import vault


class FacesConfig(AppConfig):
    name = "faces"

    def ready(self) -> None:
        vault.register("faces.Connection", "credentials")
        vault.register("faces.Authorization", "credentials")
