"""Django's settings. What differs between installations comes from the environment, through `kilroy_site.config`."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url

from kilroy_site import config as configuration
from kilroy_site.api_document import TAGS
from kilroy_site.embedded import postgres, redis
from kilroy_site.operator_panel import UNFOLD as PANEL

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
TRUSTED_PROXIES = CONFIG.trusted_proxies
ALLOWED_HOSTS = [*CONFIG.allowed_hosts, "localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE = PUBLIC_URL.startswith("https://")

INSTALLED_APPS = [
    "unfold",  # before the admin, whose site and templates it replaces
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "axes",
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
    "allauth.account.middleware.AccountMiddleware",
    "accounts.sessions.LastSeen",
    "kilroy_site.middleware.FormAddress",
    "axes.middleware.AxesMiddleware",
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
DATABASES = {
    "default": dj_database_url.parse(
        DATABASE_URL,
        conn_max_age=60,
        conn_health_checks=True,
        disable_server_side_cursors=True,  # their statements cannot carry an organization (accounts/row_security.py)
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
LIVE_REDIS_URL: str = REDIS_URL  # live events (docs/live.md); empty: nothing is told

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # refuses before a password is looked at
    "allauth.account.auth_backends.AuthenticationBackend",
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "accounts:start"
LOGOUT_REDIRECT_URL = "account_login"
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# How people sign in: docs/accounts.md.
SIGN_UP = CONFIG.sign_up
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {"signup": "accounts.forms.SignUpForm"}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_USER_DISPLAY = str
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Kilroy: "
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_MAX_EMAIL_ADDRESSES = 5
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_SESSION_REMEMBER = True
# One client at one account is for axes to stop (below); these stop one client at many, and many at one.
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,20/900s/key"}
MFA_ADAPTER = "accounts.adapter.FactorAdapter"
MFA_FORMS = {"add_webauthn": "accounts.forms.AddPasskeyForm"}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Kilroy"
MFA_TOTP_TOLERANCE = 1
SOCIALACCOUNT_ADAPTER = "accounts.adapter.SingleSignOnAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SINGLE_SIGN_ON = {
    "provider_id": "sso",
    "name": CONFIG.oidc_name,
    "client_id": CONFIG.oidc_client_id,
    "secret": CONFIG.oidc_secret,
    "settings": {"server_url": CONFIG.oidc_url, "uid_field": "subject"},
}
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [SINGLE_SIGN_ON] if CONFIG.oidc_url else []}
}
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_USERNAME_CALLABLE = "accounts.throttling.tried_address"
AXES_CLIENT_IP_CALLABLE = "accounts.access.client_address"
AXES_LOCKOUT_CALLABLE = "accounts.throttling.locked_out"
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
if SECURE:  # by these names a browser takes them from this host alone, never from a neighbour below the same domain
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE
SECURE_SSL_REDIRECT = SECURE
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

UNFOLD = PANEL  # the operator's panel

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "kilroy_site.formats"

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
    "purge-organizations": {
        "task": "accounts.tasks.purge_organizations",
        "schedule": 600.0,
        "options": {"expires": 300},
    },
    "forget-idempotency-keys": {
        "task": "accounts.tasks.forget_idempotency_keys",
        "schedule": 600.0,
        "options": {"expires": 300},
    },
    "sweep-takedowns": {"task": "bots.tasks.sweep_takedowns", "schedule": 30.0, "options": {"expires": 60}},
    "end-sanctions": {"task": "bots.tasks.end_sanctions", "schedule": 30.0, "options": {"expires": 60}},
    "sweep-webhooks": {"task": "accounts.tasks.sweep_webhooks", "schedule": 5.0, "options": {"expires": 10}},
    "sweep-exports": {"task": "accounts.tasks.sweep_exports", "schedule": 60.0, "options": {"expires": 60}},
    "sweep-notifications": {"task": "accounts.tasks.sweep_notifications", "schedule": 60.0, "options": {"expires": 60}},
    "forget-notifications": {
        "task": "accounts.tasks.forget_notifications",
        "schedule": 3600.0,
        "options": {"expires": 600},
    },
    "forget-webhook-deliveries": {
        "task": "accounts.tasks.forget_webhook_deliveries",
        "schedule": 3600.0,
        "options": {"expires": 600},
    },
}
TRAINING_THREADS = CONFIG.training_threads
WEBHOOKS_AT_ONCE = max(1, CONFIG.publishers - 1)  # one is left for publishing, however slow receivers are

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "accounts.pagination.NewestFirst",
    "PAGE_SIZE": 50,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["accounts.parsers.StrictJSONParser", "rest_framework.parsers.MultiPartParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "accounts.schema.ApiSchema",
    "EXCEPTION_HANDLER": "accounts.problems.problem_details",
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
API_LIMITS = {"caller": 600, "organization": 3000, "generate": 60}  # requests a minute (accounts/throttles.py)
SPECTACULAR_SETTINGS = {
    "TITLE": "Kilroy",
    "DESCRIPTION": "Raise social-media bots that learn from their audience, with a person in control at every step.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "docExpansion": "none", "defaultModelsExpandDepth": 0, "filter": True},
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1/organizations/{slug}",
    "TAGS": [{"name": name, "description": words} for name, words in TAGS.items()],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "kilroy_site.api_document.with_examples",
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": CONFIG.log_level},
    "loggers": {  # each of these has a line for every tick of the clock, or several for every sign-in
        name: {"level": "WARNING"}
        for name in ("axes", "uvicorn.access", "celery.beat", "celery.app.trace", "celery.worker.strategy")
    },
}

DEFAULT_FROM_EMAIL = f"Kilroy <kilroy@{urlsplit(PUBLIC_URL).hostname}>"
if CONFIG.email_url:
    _mail = urlsplit(CONFIG.email_url)
    EMAIL_TIMEOUT = 10
    EMAIL_HOST, EMAIL_PORT = _mail.hostname, _mail.port or (465 if _mail.scheme == "smtps" else 587)
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_mail.username or ""), unquote(_mail.password or "")
    EMAIL_USE_SSL, EMAIL_USE_TLS = _mail.scheme == "smtps", _mail.scheme == "smtp" and bool(_mail.username)
else:
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
