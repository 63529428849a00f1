"""Where a person is signed in: the list of sessions, and their end."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from allauth.usersessions.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render

from accounts import clock
from accounts.access import client_address
from accounts.models import User

SEEN_EVERY = timedelta(minutes=1)
"""How exact "last seen" is: writing it at every request would make every reader a writer."""
BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Version": "Safari"}
"""What a browser calls itself → its name; in this order, since many name those further down as well."""
SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "CrOS", "Linux")


class LastSeen:
    """Note when and from where each session was last used."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        key = request.session.session_key
        if key and request.user.is_authenticated:
            now, address = clock.now(), client_address(request)
            stale = UserSession.objects.filter(session_key=key, last_seen_at__lt=now - SEEN_EVERY)
            stale.update(last_seen_at=now, **({"ip": address} if address else {}))
        return self.get_response(request)


@login_required
def sessions(request: HttpRequest) -> HttpResponse:
    """The person's sessions; a POST ends the one that `session` names, or all but this one."""
    assert isinstance(request.user, User)  # login_required
    mine: list[Any] = UserSession.objects.purge_and_list(request.user)
    if request.method == "POST":
        chosen = request.POST.get("session")
        others = [session for session in mine if not session.is_current()]
        ended = [session for session in others if not chosen or str(session.pk) == chosen]
        get_adapter().end_sessions(ended)
        messages.success(request, f"Signed out in {len(ended)} place{'' if len(ended) == 1 else 's'}.")
        return redirect("usersessions_list")
    for session in mine:
        session.browser = browser_of(session.user_agent)
    mine.sort(key=lambda session: (not session.is_current(), -session.last_seen_at.timestamp()))
    return render(request, "usersessions/usersession_list.html", {"sessions": mine})


def browser_of(user_agent: str) -> str:
    """A browser and its system in words, from what it says of itself: "Firefox 140 on Linux"."""
    browser = "A browser"
    for word, name in BROWSERS.items():
        if found := re.search(rf"\b{word}\w*/(\d+)", user_agent):
            browser = f"{name} {found[1]}"
            break
    system = next((name for name in SYSTEMS if name in user_agent), "")
    return f"{browser} on {system}" if system else browser
