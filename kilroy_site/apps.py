from django.apps import AppConfig


class KilroySiteConfig(AppConfig):
    name = "kilroy_site"
