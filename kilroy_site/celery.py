"""The Celery application: one broker, two queues. `io` talks to platforms, `gpu` trains and samples."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kilroy_site.settings")

app = Celery("kilroy")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
