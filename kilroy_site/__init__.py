"""Settings, URLs and processes. The Celery application loads with Django, so that `shared_task` finds its broker."""

from kilroy_site.celery import app as celery_app

__all__ = ["celery_app"]
