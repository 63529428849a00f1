"""Django's settings. What differs between installations comes from the environment, through `kilroy_site.config`."""

from __future__ import annotations

import os
from typing import Any

import dj_database_url

from kilroy_site import config as configuration
from kilroy_site.embedded import postgres, redis

CONFIG = configuration.load(os.environ)
BASE_DIR = configuration.BASE_DIR
VAR = CONFIG.var

SECRET_KEY = CONFIG.secret_key
CREDENTIAL_KEYS = CONFIG.credential_keys
OUTBOUND_ALLOW = CONFIG.outbound_allow
API_BASES = CONFIG.api_bases
FAULTS, FAULTS_FILE = CONFIG.faults, CONFIG.var / "faults.log"
DEBUG = CONFIG.debug
PUBLIC_URL = CONFIG.public_url
ALLOWED_HOSTS = [*CONFIG.allowed_hosts, "localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE = PUBLIC_URL.startswith("https://")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "accounts",
    "faces",
    "bots",
    "training",
    "kilroy_site",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "kilroy_site.middleware.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "accounts.access.TenantFreeMiddleware",
    "kilroy_site.middleware.FormAddress",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.access.organization_context",
                "bots.queries.needs_human_context",
            ]
        },
    }
]
ROOT_URLCONF = "kilroy_site.urls"
ASGI_APPLICATION = "kilroy_site.asgi.application"

DATABASE_URL = CONFIG.database_url or postgres.database_url(VAR)
REDIS_URL = CONFIG.redis_url or redis.redis_url(VAR)
DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_max_age=60, conn_health_checks=True)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
}

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "accounts:start"
LOGOUT_REDIRECT_URL = "accounts:sign-in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE
SECURE_SSL_REDIRECT = SECURE
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = VAR / "media"
WHITENOISE_USE_FINDERS = True  # files are served from where they are: no collectstatic step
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

# Celery: a message is a doorbell that carries ids; the row is the truth (docs/architecture.md).
CELERY_BROKER_URL = redis.broker_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "io"
CELERY_TASK_ROUTES = {"training.tasks.gpu_*": {"queue": "gpu"}}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "publish-due": {"task": "bots.tasks.publish_due", "schedule": 1.0, "options": {"expires": 5}},
    "read-scores": {"task": "bots.tasks.read_due_scores", "schedule": 2.0, "options": {"expires": 5}},
    "fill-slots": {"task": "bots.tasks.fill_slots", "schedule": 5.0, "options": {"expires": 10}},
    "keep-pulse": {"task": "bots.tasks.keep_pulse", "schedule": 5.0, "options": {"expires": 10}},
    "recover-posts": {"task": "bots.tasks.recover_posts", "schedule": 15.0, "options": {"expires": 30}},
    "check-connections": {"task": "faces.tasks.check_due_connections", "schedule": 600.0, "options": {"expires": 300}},
    "watch-for-posts": {"task": "bots.tasks.watch_for_posts", "schedule": 10.0, "options": {"expires": 20}},
    "send-replies": {"task": "bots.tasks.send_replies", "schedule": 5.0, "options": {"expires": 10}},
    "sweep-replies": {"task": "training.tasks.sweep_replies", "schedule": 10.0, "options": {"expires": 20}},
    "sweep-runs": {"task": "training.tasks.sweep_runs", "schedule": 2.0, "options": {"expires": 5}},
    "sweep-pipeline": {"task": "training.tasks.sweep_pipeline", "schedule": 15.0, "options": {"expires": 30}},
    "sweep-queues": {"task": "training.tasks.sweep_queues", "schedule": 60.0, "options": {"expires": 60}},
}
TRAINING_THREADS = CONFIG.training_threads

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "accounts.pagination.NewestFirst",
    "PAGE_SIZE": 50,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser", "rest_framework.parsers.MultiPartParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "accounts.problems.problem_details",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Kilroy",
    "DESCRIPTION": "Raise social-media bots that learn from their audience, with a person in control at every step.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1/organizations/{slug}",
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": CONFIG.log_level},
    "loggers": {  # each of these has a line for every tick of the clock
        name: {"level": "WARNING"}
        for name in ("uvicorn.access", "celery.beat", "celery.app.trace", "celery.worker.strategy")
    },
}

if CONFIG.email_url:
    from urllib.parse import unquote, urlsplit

    _mail = urlsplit(CONFIG.email_url)
    EMAIL_TIMEOUT = 10
    EMAIL_HOST, EMAIL_PORT = _mail.hostname, _mail.port or (465 if _mail.scheme == "smtps" else 587)
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_mail.username or ""), unquote(_mail.password or "")
    EMAIL_USE_SSL, EMAIL_USE_TLS = _mail.scheme == "smtps", _mail.scheme == "smtp" and bool(_mail.username)
else:
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
