"""An installation that the world can reach passes Django's checklist, and its answers carry what protects people."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection

from kilroy_site.config import BASE_DIR

pytestmark = pytest.mark.django_db  # its database has the tables

PRODUCTION = {
    "HOST": "0.0.0.0",
    "KILROY_PUBLIC_URL": "https://kilroy.example",
    "KILROY_ALLOWED_HOSTS": "kilroy.example",
    "KILROY_SECRET_KEY": "correct-horse-battery-staple-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "KILROY_CREDENTIAL_KEYS": "first:" + base64.b64encode(bytes(range(32))).decode(),
}
ASK = """
import json
import django
django.setup()
from django.conf import settings
from django.core.management import call_command
from django.test import Client
call_command("check", deploy=True, fail_level="WARNING")
def ask(path, **how):
    answer = Client(headers={"Host": "kilroy.example"}).get(path, **how)
    cookies = {name: {key: value for key, value in morsel.items() if value} for name, morsel in answer.cookies.items()}
    return {"status": answer.status_code, "headers": dict(answer.headers), "cookies": cookies}
names = [name for name in dir(settings) if name.startswith(("SESSION_COOKIE_", "CSRF_COOKIE_"))]
print(json.dumps({
    "plain": ask("/healthz"),
    "pages": {path: ask(path, secure=True) for path in PATHS},
    "settings": {name: getattr(settings, name) for name in names},
}))
"""
PATHS = [
    "/sign-in/",
    "/account/signup/",
    "/healthz",
    "/api/docs/",
    "/api/docs/?script=",
    "/api/v1/organizations/",
    "/no",
]
PAGES = PATHS[:2]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> dict[str, Any]:
    """What such an installation says to those who ask, after `manage.py check --deploy` found nothing to object to."""
    strangers = ("DATABASE_", "REDIS_", "DJANGO_", "KILROY_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(strangers)} | PRODUCTION
    environment |= {"KILROY_VAR": str(tmp_path_factory.mktemp("var")), "DJANGO_SETTINGS_MODULE": "kilroy_site.settings"}
    database = urlsplit(settings.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}")
    environment |= {"DATABASE_URL": urlunsplit(database), "REDIS_URL": settings.REDIS_URL}
    program = ASK.replace("PATHS", repr(PATHS))
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_whoever_comes_without_https_is_sent_there(told: dict[str, Any]) -> None:
    assert told["plain"]["status"] == 301
    assert told["plain"]["headers"]["Location"] == "https://kilroy.example/healthz"


def test_every_answer_carries_what_protects_people(told: dict[str, Any]) -> None:
    expected = {
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=()",
    }
    for path, answer in told["pages"].items():
        assert {name: answer["headers"].get(name) for name in expected} == expected, path


def test_the_policy_allows_nothing_inline_and_nobody_else(told: dict[str, Any]) -> None:
    nonces = set()
    for path, answer in told["pages"].items():
        policy = dict(part.split(" ", 1) for part in answer["headers"]["Content-Security-Policy"].split("; "))
        nonce = policy["script-src"].split(" ")[-1]
        nonces.add(nonce)
        assert policy == {
            "default-src": "'none'",
            "script-src": f"'self' {nonce}",
            "style-src": f"'self' {nonce}",
            "img-src": "'self' data:",
            "font-src": "'self'",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
        }, path
    assert len(nonces) == len(PATHS)  # none is used twice


def test_cookies_belong_to_this_host_alone(told: dict[str, Any]) -> None:
    site = told["settings"]
    for kind, name in (("SESSION", "__Host-sessionid"), ("CSRF", "__Host-csrftoken")):
        given = {key: site[f"{kind}_COOKIE_{key}"] for key in ("NAME", "SECURE", "HTTPONLY", "SAMESITE", "PATH")}
        assert given == {"NAME": name, "SECURE": True, "HTTPONLY": True, "SAMESITE": "Lax", "PATH": "/"}
        assert site[f"{kind}_COOKIE_DOMAIN"] is None
    for path in PAGES:
        assert set(told["pages"][path]["cookies"]) == {"__Host-csrftoken"}
        cookie = told["pages"][path]["cookies"]["__Host-csrftoken"]
        assert (cookie["path"], cookie["samesite"], cookie["secure"], cookie["httponly"]) == ("/", "Lax", True, True)
        assert "domain" not in cookie
