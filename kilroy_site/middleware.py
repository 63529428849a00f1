"""The content security policy: nothing inline without the request's nonce, nothing from any other host. And a page for
addresses that only take forms.

The operator's panel has a policy of its own, since django-unfold draws it: Alpine.js compiles the expressions in its
attributes ('unsafe-eval'), and its templates and widgets carry styles inline. Scripts inline and other hosts stay
forbidden there, too; what people and models wrote is escaped in it as everywhere, and its pages are for staff alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import render

OPERATOR = "/operator/"
PERMISSIONS = ", ".join(f"{name}=()" for name in ("camera", "microphone", "geolocation", "payment", "usb", "serial"))


class ContentSecurityPolicy:
    """Give each request a nonce (`request.csp_nonce`) and each answer the policy that demands it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponseBase:
        nonce = request.csp_nonce = secrets.token_urlsafe(16)
        response = self.get_response(request)
        chosen = operator_policy(nonce) if request.path_info.startswith(OPERATOR) else policy(nonce)
        response.headers.setdefault("Content-Security-Policy", chosen)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response


def policy(nonce: str) -> str:
    """The policy's text. Websockets of the same origin are covered by 'self' in every current browser."""
    return _policy(f"'self' 'nonce-{nonce}'", f"'self' 'nonce-{nonce}'")


def operator_policy(nonce: str) -> str:
    """The policy of the operator's panel. (A nonce would make browsers ignore 'unsafe-inline' for styles.)"""
    return _policy(f"'self' 'nonce-{nonce}' 'unsafe-eval'", "'self' 'unsafe-inline'")


def _policy(scripts: str, styles: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts}",
            f"style-src {styles}",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class FormAddress:
    """Whoever opens an address that only takes forms (signing in again leads there) reads so, and no blank page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.method != "GET" or not isinstance(response, HttpResponseNotAllowed):
            return response
        page = render(request, "errors/405.html", status=405)
        page["Allow"] = response["Allow"]
        return page
