"""The site's settings, over a data folder that belongs to one test run and goes away with it.

Each run has servers of its own, so runs in one checkout do not meet; xdist's workers inherit the folder from the
process that started them. A DATABASE_URL or REDIS_URL of the environment is used instead, as in production.
"""

import os

from kilroy_site.config import BASE_DIR

RUN_FOLDER_VARIABLE = "TEST_RUN_FOLDER"

if RUN_FOLDER_VARIABLE not in os.environ:
    os.environ[RUN_FOLDER_VARIABLE] = str(BASE_DIR / "var" / "test" / str(os.getpid()))
os.environ["KILROY_VAR"] = os.environ[RUN_FOLDER_VARIABLE]

from kilroy_site.settings import *  # noqa: E402, F403 - the folder above must be known first

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
API_LIMITS = dict.fromkeys(API_LIMITS, 1_000_000)  # noqa: F405 - tests that walk over everything ask often
if not CONFIG.redis_url:  # noqa: F405
    # Processes that test side by side have a database each; so must what Redis knows of its rows, or one that empties
    # its cache, pauses its site or counts its users' requests would do so for the others.
    REDIS_URL += f"?db={os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]}"  # noqa: F405
    LIVE_REDIS_URL = CACHES["default"]["LOCATION"] = REDIS_URL  # noqa: F405
    CELERY_BROKER_URL = redis.broker_url(REDIS_URL)  # noqa: F405
