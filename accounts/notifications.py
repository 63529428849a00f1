"""Notifications: who is told of what happened, on the page and by mail (docs/notifications.md).

`tell` writes the rows in the transaction of what happened. Mails go out later (accounts/notification_mail.py): the row
that says `email_due` is the truth.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.http import url_has_allowed_host_and_scheme

from accounts import audit, clock
from accounts.doorbell import ring
from accounts.models import Membership, Notification, NotificationChoice, Role, User
from accounts.notification_kinds import KINDS, kinds_for
from accounts.roles import allows
from accounts.tenancy import active

SEND = "accounts.tasks.send_notifications"
MAIL_AGAIN = timedelta(hours=20)
"""Something that goes on happening while nobody reads of it is mailed again after this long, and no sooner."""
MOST_COUNTED = 10
KEPT_READ, KEPT = timedelta(days=90), timedelta(days=365)
FORGOTTEN_AT_ONCE = 5000
Email = NotificationChoice.Email


@transaction.atomic
def tell(
    kind: str, title: str, path: str, text: str = "", subject: str = "", users: Iterable[UUID] | None = None
) -> int:
    """Tell the active organization's members whose role allows it and who want to know (of those, only `users` where
    they are given, by id). Returns how many. To be called in the transaction of what happened.

    `path` is the page of the very thing, on this site. `subject` names what it is about, like “run 6b0a…”: whoever has
    not read of it yet is told no second time, but finds the new title, text and time. No text of a post and no
    credential belongs into either; they are mailed. Raises KeyError for a kind that is not in the table, ValueError for
    a path that leads elsewhere.
    """
    if not (path.startswith("/") and url_has_allowed_host_and_scheme(path, allowed_hosts=None)):
        raise ValueError(f"{path}: a notification leads to a page of this site.")
    members = _members(kind, users)
    emails = _wishes(kind, members)
    now = clock.now()
    said = {"title": " ".join(title.split())[:200], "text": text[:500], "path": path, "created_at": now}
    known = _tell_again(kind, subject, said, emails) if subject else set()
    rows = Notification.objects.bulk_create(
        (
            Notification(user_id=pk, kind=kind, subject=subject, email_due=email != Email.NEVER, **said)
            for pk, email in sorted(emails.items())
            if pk not in known
        ),
        ignore_conflicts=True,  # somebody else tells the same at this moment
    )
    if any(email == Email.NOW for email in emails.values()):
        ring(SEND, active())
    return len(rows) + len(known)


def settle(kind: str, subject: str) -> None:
    """What was told of is over (a connection works again, a queue was filled): nobody needs to read of it any more, and
    when it happens again it is told again.
    """
    Notification.objects.filter(kind=kind, subject=subject, read_at=None).update(read_at=clock.now(), email_due=False)


def _members(kind: str, users: Iterable[UUID] | None) -> list[UUID]:
    """The ids of the people who are told of this kind, whatever they chose."""
    roles = [role for role in Role.values if allows(role, KINDS[kind].permission)]
    found = Membership.objects.filter(role__in=roles, user__is_active=True)
    if users is not None:
        found = found.filter(user__in=list(users))
    return list(found.values_list("user_id", flat=True))


def _wishes(kind: str, members: Collection[UUID]) -> dict[UUID, str]:
    """Person → when they want the mail; those who want to know in no way are left out."""
    rows = NotificationChoice.objects.filter(kind=kind, user__in=members)
    chosen = {row.user_id: row for row in rows}
    silent = {pk for pk, row in chosen.items() if not row.on_page and row.email == Email.NEVER}
    return {pk: chosen[pk].email if pk in chosen else KINDS[kind].email for pk in members if pk not in silent}


def _tell_again(kind: str, subject: str, said: dict[str, Any], emails: dict[UUID, str]) -> set[UUID]:
    """Renew what was told of this and not read yet. Returns who had it."""
    unread = Notification.objects.filter(kind=kind, subject=subject, read_at=None, user__in=list(emails))
    held = list(unread.select_for_update(of=("self",)).order_by("pk"))
    for row in held:
        for name, value in said.items():
            setattr(row, name, value)
        mailed_long_ago = row.emailed_at is None or row.emailed_at < said["created_at"] - MAIL_AGAIN
        row.email_due = emails[row.user_id] != Email.NEVER and (row.email_due or mailed_long_ago)
    if held:
        Notification.objects.bulk_update(held, [*said, "email_due"])
    return {row.user_id for row in held}


def shown_to(member: Membership) -> QuerySet[Notification]:
    """What a member finds on the page: what they were told, of kinds that they want there."""
    hidden = NotificationChoice.objects.filter(user=member.user_id, on_page=False)
    return told_to(member).exclude(kind__in=hidden.values("kind"))


def told_to(member: Membership) -> QuerySet[Notification]:
    """What a member was told, on the page or by mail, of kinds that their role (and token) still allows."""
    kinds = [name for name in kinds_for(member.role) if member.allows(KINDS[name].permission)]
    found: QuerySet[Notification] = Notification.objects.filter(user=member.user_id, kind__in=kinds)
    return found


def unread_count(member: Membership) -> int:
    """How many of a member's notifications are unread; counted to 10."""
    return int(shown_to(member).filter(read_at=None).order_by()[:MOST_COUNTED].count())


def read(member: Membership, notification_id: UUID | str) -> Notification:
    """Mark one of a member's own notifications read. Raises Notification.DoesNotExist."""
    row = told_to(member).get(pk=notification_id)
    if row.read_at is None:
        row.read_at, row.email_due = clock.now(), False
        row.save(update_fields=["read_at", "email_due"])
    return row


def read_all(member: Membership) -> int:
    """Mark everything that a member finds on the page read. Returns how many were not."""
    return int(shown_to(member).filter(read_at=None).update(read_at=clock.now(), email_due=False))


def choices_of(member: Membership) -> list[NotificationChoice]:
    """One choice for each kind that the member may be told of: their own, or the kind's default (not stored)."""
    rows = {row.kind: row for row in NotificationChoice.objects.filter(user=member.user_id)}
    return [
        rows.get(name) or NotificationChoice(user_id=member.user_id, kind=name, email=KINDS[name].email)
        for name in kinds_for(member.role)
        if member.allows(KINDS[name].permission)
    ]


@transaction.atomic
def choose(user: User, kind: str, *, on_page: bool | None = None, email: str | None = None) -> NotificationChoice:
    """Note how a member of the active organization wants to be told of a kind; None leaves that as it is. Raises
    ValidationError.
    """
    if kind not in KINDS:
        raise ValidationError({"kind": f"There is no kind “{kind}”. Known are: {', '.join(KINDS)}."})
    if email is not None and email not in Email.values:
        raise ValidationError({"email": f"Choose one of: {', '.join(Email.values)}."})
    row, _ = NotificationChoice.objects.select_for_update(of=("self",)).get_or_create(
        user=user, kind=kind, defaults={"email": KINDS[kind].email}
    )
    before = {"kind": kind, "on_page": row.on_page, "email": row.email}
    row.on_page = row.on_page if on_page is None else on_page
    row.email = row.email if email is None else email
    after = {"kind": kind, "on_page": row.on_page, "email": row.email}
    if before != after:
        row.save(update_fields=["on_page", "email"])
        audit.record("notification.choose", row, before=before, after=after)
        if row.email == Email.NEVER:
            Notification.objects.filter(user=user, kind=kind, email_due=True).update(email_due=False)
    return row


def forget(user_id: UUID) -> None:
    """Remove what somebody was told who is no member any more, and what they chose."""
    Notification.objects.filter(user=user_id).delete()
    NotificationChoice.objects.filter(user=user_id).delete()


def forget_old() -> int:
    """Remove what was told more than 90 days ago and read, or more than a year ago. Returns how much."""
    now = clock.now()
    old = Q(read_at__isnull=False, created_at__lt=now - KEPT_READ) | Q(created_at__lt=now - KEPT)
    # everyone: beat's sweep, over all organizations.
    found = Notification.everyone.filter(old).order_by().values("pk")[:FORGOTTEN_AT_ONCE]
    # everyone: as above.
    removed: tuple[int, Any] = Notification.everyone.filter(pk__in=found).delete()
    return removed[0]
