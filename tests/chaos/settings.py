"""The site's settings for the campaign's own processes; its data folder comes by KILROY_VAR.

CHAOS_FACTOR divides the protocol's waits (`tests.chaos.times`). CHAOS_FREEZE is the probability with which a publisher
freezes between its intent and its request.
"""

from __future__ import annotations

import os

from kilroy_site.settings import *  # noqa: F403
from kilroy_site.settings import CELERY_BEAT_SCHEDULE as EVERY_TICK
from kilroy_site.settings import INSTALLED_APPS as APPS

CHAOS_FACTOR = float(os.environ.get("CHAOS_FACTOR", "1"))
CHAOS_FREEZE = float(os.environ.get("CHAOS_FREEZE", "0"))

INSTALLED_APPS = [*APPS, "tests.chaos.apps.ChaosConfig"]
CELERY_IMPORTS = ["tests.chaos.naive"]
CELERY_BEAT_SCHEDULE = {
    name: tick | {"schedule": max(1.0, tick["schedule"] / CHAOS_FACTOR)}
    for name, tick in EVERY_TICK.items()
    if name in ("publish-due", "fill-slots", "keep-pulse", "recover-posts")  # the others have no part in delivery
}
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
