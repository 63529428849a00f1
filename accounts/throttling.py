"""Guessing passwords: who tried, from where, and what they read when it was too often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allauth.account.models import EmailAddress
from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.access import client_address
from accounts.models import User

LONGEST = 254
"""Characters of an e-mail address; whoever types more has no account."""


def tried_address(request: HttpRequest, credentials: Mapping[str, Any] | None) -> str:
    """The e-mail address that somebody tried to sign in with, in lower case: the account whose attempts are counted."""
    tried = str((credentials or {}).get("email") or request.POST.get("login") or "")
    return tried.replace("\0", "").strip().lower()[:LONGEST]


def forget_attempts(user: User) -> None:
    """Count the attempts at a person's account anew, from everywhere."""
    addresses = EmailAddress.objects.filter(user=user).values_list("email", flat=True)
    AccessAttempt.objects.filter(username__in=[user.email.lower(), *addresses]).delete()


def locked_out(
    request: HttpRequest, response: HttpResponse | None = None, credentials: Mapping[str, Any] | None = None
) -> HttpResponse:
    """The page that says when this person may try again from this address."""
    tries = AccessAttempt.objects.filter(
        username=tried_address(request, credentials), ip_address=client_address(request)
    )
    last = tries.aggregate(last=Max("attempt_time"))["last"] or timezone.now()
    again_at = last + get_cool_off(request)
    page = render(request, "accounts/locked_out.html", {"again_at": again_at}, status=429)
    page["Retry-After"] = str(max(1, round((again_at - timezone.now()).total_seconds())))
    return page
