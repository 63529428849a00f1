"""Reports that a published post should not be there: by anybody, by its public address, and by members."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import transaction

from accounts import audit, clock
from accounts.tenancy import tenant
from bots.models import Post, Report

MOST_OPEN = 50
"""Open reports that one post can have: whoever comes later is of the same opinion."""
OUTSIDE = "somebody outside"


def report_address(address: str, category: str, text: str, email: str = "") -> Report | None:
    """A report by somebody who names the post by its public address. None when no post of this installation has that
    address, which the reporter is not told. Raises ValidationError for what could be no report.
    """
    found = _checked(Report(category=category, text=text.replace("\0", "")[:2000], reporter_email=email))
    # everyone: whose post it is, if anybody's, is what the address has to say.
    at = Post.everyone.filter(remote_url__in=_spellings(address)).exclude(remote_url="")
    post = at.order_by("created_at").values_list("organization_id", "pk").first()
    if post is None:
        return None
    with tenant(post[0]):
        return _keep(found, post[1], OUTSIDE)


@transaction.atomic
def report_post(post_id: UUID | str, category: str, text: str) -> Report | None:
    """A report by a member on a post of the active organization; None where there are too many open ones already.
    Raises ValidationError.
    """
    who = audit.actor()
    email = who.user.email if who.user else ""
    report = _checked(Report(category=category, text=text.replace("\0", "")[:2000], reporter_email=email))
    return _keep(report, Post.objects.values_list("pk", flat=True).get(pk=post_id), who.label)


def _checked(report: Report) -> Report:
    if report.category not in Report.Category.values:
        raise ValidationError({"category": f"Choose one of: {', '.join(Report.Category.values)}."})
    if report.reporter_email:
        try:
            validate_email(report.reporter_email)
        except ValidationError as error:
            raise ValidationError({"email": error.messages}) from None
    return report


def _spellings(address: str) -> list[str]:
    """An address as people may paste it: with or without what follows ? and #, and a slash at the end."""
    parts = urlsplit(address.strip()[:500])
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValidationError({"address": "Paste the link of the post: it begins with https://."})
    plain = urlunsplit((parts.scheme, parts.netloc.lower(), parts.path, "", ""))
    with_query = urlunsplit((parts.scheme, parts.netloc.lower(), parts.path, parts.query, ""))
    return list({address.strip(), with_query, plain, plain.rstrip("/"), plain.rstrip("/") + "/"})


@transaction.atomic
def _keep(report: Report, post_id: UUID, by: str) -> Report | None:
    if Report.objects.filter(post=post_id, state=Report.State.OPEN).count() >= MOST_OPEN:
        return None
    report.post_id = post_id
    report.save()
    audit.record("report.create", report, after={"post": str(post_id), "category": report.category, "by": by})
    return report


@transaction.atomic
def decide(report_id: UUID | str, upheld: bool, note: str = "") -> Report:
    """Uphold or dismiss a report; whoever left an address is told. Raises ValidationError."""
    report = Report.locked(report_id)
    if report.state != Report.State.OPEN:
        raise ValidationError("This report was decided already.")
    report.state = Report.State.UPHELD if upheld else Report.State.DISMISSED
    report.decided_at, report.decided_by = clock.now(), audit.actor().label[:200]
    report.note = note.replace("\0", "").strip()[:500]
    report.save(update_fields=["state", "decided_at", "decided_by", "note"])
    after = {"state": report.state, "note": report.note}
    audit.record("report.decide", report, before={"state": Report.State.OPEN}, after=after)
    _answer(report)
    return report


def _answer(report: Report) -> None:
    if not report.reporter_email:
        return
    outcome = "agreed with you, and acted" if report.state == Report.State.UPHELD else "found nothing to act on"
    body = f"You reported a post ({report.get_category_display()}). The operator looked at it and {outcome}."
    address, words = report.reporter_email, f"{body}\n\n{report.note}".strip()
    transaction.on_commit(lambda: send_mail("Kilroy: your report", words, None, [address]), robust=True)
