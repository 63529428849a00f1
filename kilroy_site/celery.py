"""The Celery application: one broker, two queues. `io` talks to platforms, `gpu` trains and samples."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kilroy_site.settings")

app = Celery("kilroy")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf["CELERY_DB_REUSE_MAX"] = 10_000  # by default every task opens a database connection and closes it
app.autodiscover_tasks()


@task_prerun.connect
def check_connections(**told: Any) -> None:
    """As before a request: drop what is old or broken, so that a database that restarted costs no task."""
    from django.db import close_old_connections

    close_old_connections()
