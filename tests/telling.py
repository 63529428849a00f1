"""What people are told and mailed, for tests."""

from __future__ import annotations

import re
from typing import Any

from django.core import mail

from accounts.models import Membership, Notification, User
from accounts.notification_mail import send_due
from accounts.notifications import tell

PATH = "/o/acme/connections/"


def broken(title: str = "Ours is broken", subject: str = "connection 1", **more: Any) -> int:
    return tell("connection.broken", title, PATH, "It takes nothing more.", subject=subject, **more)


def unread() -> list[tuple[str, str]]:
    rows = Notification.objects.filter(read_at=None).order_by("user__email", "created_at")
    return [(row.user.email.split("@")[0], row.title) for row in rows.select_related("user")]


def member(user: User) -> Membership:
    return Membership.objects.select_related("user", "organization").get(user=user)


def mailed() -> list[str]:
    """Do what a worker does once it hears the doorbell: send what waits within the active organization. Returns the
    subjects of all mails so far.
    """
    send_due()
    return [letter.subject for letter in mail.outbox]


def link_in(body: Any) -> str:
    [path] = re.findall(r"https?://[^/\s]+(/o/\S+/notifications/[0-9a-f-]{36}/)", str(body))
    return str(path)


def recipients() -> list[str]:
    return sorted(address for letter in mail.outbox for address in letter.to)
