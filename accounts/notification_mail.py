"""Mails of what people are told: one each where it is to be known at once, one a day for what can wait.

A row that is due is claimed by the moment of its mail: whoever dies while sending leaves it to the next one after
`LEASE`, and nobody else sends it before. A mail is in the post before its row is done, so that a crash between the two
is the one way to a second copy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from smtplib import SMTPRecipientsRefused
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Now
from django.template.loader import render_to_string
from django.urls import reverse

from accounts import audit, clock, notifications
from accounts.doorbell import ring
from accounts.models import Membership, Notification, NotificationChoice
from accounts.notification_kinds import KINDS
from accounts.tenancy import tenant

log = logging.getLogger(__name__)

DIGEST = "accounts.tasks.send_digest"
DIGEST_HOUR = 7
"""UTC."""
LEASE = timedelta(minutes=10)
GIVE_UP_AFTER = timedelta(days=3)
MOST_IN_DIGEST = 50
AT_ONCE = 200
SWEPT_AT_ONCE = 500
UNSUBSCRIBE_SALT = "accounts.notifications.unsubscribe"
Email = NotificationChoice.Email


def send_due() -> int:
    """Mail what the active organization's members want to know at once. Returns how many mails were sent. The first
    one that cannot be sent ends the turn: a mail server that hangs must not keep a worker.
    """
    sent = 0
    due = _wishing(Notification.objects.all(), NotificationChoice.objects.all(), Email.NOW)
    for pk in due.filter(_FREE).order_by("created_at").values_list("pk", flat=True)[:AT_ONCE]:
        try:
            sent += _send_one(pk)
        except OSError as error:  # smtplib's errors and the network's: the row stays due
            log.warning("a notification could not be mailed, it is tried again: %s", error)
            break
    return sent


def _send_one(pk: UUID) -> bool:
    rows = _claim(Notification.objects.filter(pk=pk))
    return bool(rows) and _send(rows, "accounts/email/notification.txt", rows[0].title, rows[0].kind)


def send_digest(user_id: UUID | str) -> bool:
    """Mail a member of the active organization what waits for the digest. Returns whether there was anything. Raises
    OSError when the mail server does not take it: the rows stay due.
    """
    due = _wishing(Notification.objects.filter(user=user_id), NotificationChoice.objects.all(), Email.DIGEST)
    rows = _claim(due.filter(created_at__lt=last_digest()))
    if not rows:
        return False
    title = rows[0].title if len(rows) == 1 else f"{len(rows)} things happened"
    return _send(rows, "accounts/email/digest.txt", title, "")


def last_digest() -> datetime:
    """When digests were last due: what was told before belongs into them."""
    now = clock.now()
    today = now.replace(hour=DIGEST_HOUR, minute=0, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


@transaction.atomic
def _claim(due: QuerySet[Notification]) -> list[Notification]:
    """Those of the rows that are due and that nobody is mailing, newest first, from now on claimed."""
    free = due.filter(_FREE).select_for_update(skip_locked=True, of=("self",))
    rows = list(free.select_related("organization").order_by("-created_at", "-pk"))
    Notification.objects.filter(pk__in=[row.pk for row in rows]).update(emailed_at=Now())
    return rows


def _send(rows: Sequence[Notification], template: str, title: str, kind: str) -> bool:
    """Mail claimed rows of one person in one letter. Returns whether it is in the post: not for somebody who may no
    longer be told, or whose address is refused. Raises OSError for any other trouble.
    """
    done = Notification.objects.filter(pk__in=[row.pk for row in rows])
    member = Membership.objects.filter(user=rows[0].user_id, user__is_active=True).select_related("user").first()
    rows = [row for row in rows if member and row.kind in KINDS and member.allows(KINDS[row.kind].permission)]
    if member is None or not rows:
        done.update(email_due=False)
        return False
    try:
        _letter(member, rows, template, title, kind).send()
    except SMTPRecipientsRefused:
        log.warning("notifications of %s: the mail server does not take their address", member.user_id)
        done.update(email_due=False)
        return False
    done.update(email_due=False)
    return True


def _letter(member: Membership, rows: Sequence[Notification], template: str, title: str, kind: str) -> EmailMessage:
    organization = rows[0].organization
    slug, name = organization.slug, " ".join(organization.name.split())
    unsubscribe = address("accounts:unsubscribe", unsubscribe_token(member, kind))
    shown = [
        {"row": row, "kind": KINDS[row.kind], "address": address("accounts:notification", slug, row.pk)}
        for row in rows[:MOST_IN_DIGEST]
    ]
    body = render_to_string(
        template,
        {
            "name": name,
            "shown": shown,
            "more": len(rows) - len(shown),
            "list": address("accounts:notifications", slug),
            "choices": address("accounts:notification-choices", slug),
            "unsubscribe": unsubscribe,
        },
    )
    headers = {
        "List-Unsubscribe": f"<{unsubscribe}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Auto-Submitted": "auto-generated",
    }
    return EmailMessage(f"Kilroy: {title}", body, None, [member.user.email], headers=headers)


def address(view: str, *args: Any) -> str:
    return settings.PUBLIC_URL + reverse(view, args=args)


def unsubscribe_token(member: Membership, kind: str) -> str:
    """What stands in the link that ends mails of a kind for one person; kind "": those in the digest."""
    return signing.dumps([str(member.organization_id), str(member.user_id), kind], salt=UNSUBSCRIBE_SALT)


def subscription_of(token: str) -> tuple[Membership, str]:
    """Whose mails a link ends, and of which kind. Raises BadSignature, Membership.DoesNotExist."""
    organization_id, user_id, kind = signing.loads(token, salt=UNSUBSCRIBE_SALT)
    with tenant(organization_id):
        member: Membership = Membership.objects.select_related("organization", "user").get(user=user_id)
    return member, kind


def unsubscribe(member: Membership, kind: str) -> None:
    """End the mails of a kind, or those in the digest. What is on the page stays."""
    who = audit.Actor(member.user.email, member.user)
    with tenant(member.organization_id), audit.acting(who), transaction.atomic():
        for choice in notifications.choices_of(member):
            if choice.kind == kind or (not kind and choice.email == Email.DIGEST):
                notifications.choose(member.user, choice.kind, email=Email.NEVER)


def ring_due() -> None:
    """Ring for every organization with mails to send, and for every digest that is due; give up what could not be sent
    for days.
    """
    # everyone: beat's sweep finds what is due in all organizations; whoever hears the bell enters the tenant.
    rows = Notification.everyone.filter(email_due=True)
    rows.filter(created_at__lt=clock.now() - GIVE_UP_AFTER).update(email_due=False)
    # everyone: as above.
    choices = NotificationChoice.everyone.filter(organization=OuterRef("organization"))
    now = _wishing(rows.filter(_FREE), choices, Email.NOW).order_by().values_list("organization", flat=True)
    for organization_id in now.distinct()[:SWEPT_AT_ONCE]:
        ring(notifications.SEND, organization_id)
    digests = _wishing(rows.filter(_FREE, created_at__lt=last_digest()), choices, Email.DIGEST)
    people = digests.order_by().values_list("organization", "user").distinct()[:SWEPT_AT_ONCE]
    for organization_id, user_id in people:
        ring(DIGEST, organization_id, user_id)


_FREE = Q(email_due=True) & (Q(emailed_at=None) | Q(emailed_at__lt=Now() - LEASE))


def _wishing(rows: QuerySet[Notification], choices: QuerySet[Any], email: str) -> QuerySet[Notification]:
    """Those of the rows that are due and whose person wants their kind in this way."""
    chosen = choices.filter(user=OuterRef("user"), kind=OuterRef("kind")).values("email")[:1]
    defaults: Mapping[str, str] = {name: kind.email for name, kind in KINDS.items()}
    own = Case(*(When(kind=name, then=Value(default)) for name, default in defaults.items()), default=Value(Email.NOW))
    return rows.filter(email_due=True).annotate(wish=Coalesce(Subquery(chosen), own)).filter(wish=email)
