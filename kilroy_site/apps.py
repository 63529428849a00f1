from django.apps import AppConfig


class KilroySiteConfig(AppConfig):
    name = "kilroy_site"

    def ready(self) -> None:
        from bots.operator import jobs
        from kilroy_site.processes import processes, queues

        jobs.SECTIONS[:0] = [queues, processes]
