"""Links by which people outside see one bot's progress: made, used, revoked."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from accounts import audit, clock
from bots.models import Bot
from training.models import ShareLink

MOST_LINKS = 50
"""Of one bot, that are not revoked."""
SEEN_EVERY = timedelta(minutes=5)
_links = Signer(salt="training.share_links")


@transaction.atomic
def make_link(bot: Bot, *, label: str = "", shows_posts: bool = True, expires_at: datetime | None = None) -> ShareLink:
    """Make a link to a page of the bot's progress, good until `expires_at` or until it is revoked. Raises
    ValidationError.
    """
    now = clock.now()
    if expires_at is not None and expires_at <= now:
        raise ValidationError({"expires_at": "Choose a moment that is still to come."})
    if ShareLink.objects.filter(bot=bot, revoked_at=None).count() >= MOST_LINKS:
        raise ValidationError(f"This bot has {MOST_LINKS} links already: revoke those that nobody needs.")
    link = ShareLink(
        bot=bot,
        label=label.replace("\0", "").strip(),
        shows_posts=shows_posts,
        expires_at=expires_at,
        created_by=audit.actor().label[:200],
        created_at=now,
    )
    link.clean_fields(exclude=["organization", "revoked_at", "last_seen_at"])
    link.save()
    after = {"bot": str(bot.pk), "label": link.label, "shows_posts": shows_posts, "expires_at": expires_at}
    audit.record("share_link.make", link, after=after)
    return link


@transaction.atomic
def revoke_link(link_id: UUID | str) -> ShareLink:
    """End a link: from now on its page is not found. Raises ShareLink.DoesNotExist."""
    link = ShareLink.locked(link_id)
    if link.revoked_at is None:
        link.revoked_at = clock.now()
        link.save(update_fields=["revoked_at"])
        audit.record("share_link.revoke", link, before={"revoked_at": None}, after={"revoked_at": link.revoked_at})
    return link


def signed(link: ShareLink) -> str:
    """What stands in the link's address: its id with a signature."""
    return _links.sign(link.pk.hex)


def address_of(link: ShareLink) -> str:
    """The whole address of the link's page."""
    return f"{settings.PUBLIC_URL}{reverse('training:shared-page', args=[signed(link)])}"


def link_of(given: str) -> ShareLink | None:
    """The link of an address while it is good: signed by this installation, not revoked, not expired, and of no
    organization that is about to be deleted.
    """
    try:
        pk = UUID(_links.unsign(given))
    except (BadSignature, ValueError):
        return None
    # everyone: whoever follows a link is in no organization; the link says in whose tenant to look.
    links = ShareLink.everyone.filter(pk=pk, revoked_at=None, organization__deletion_requested_at=None)
    return links.filter(Q(expires_at=None) | Q(expires_at__gt=clock.now())).first()


def seen(link: ShareLink) -> None:
    """Note that somebody followed the link, once in a few minutes."""
    now = clock.now()
    long_ago = Q(last_seen_at=None) | Q(last_seen_at__lt=now - SEEN_EVERY)
    ShareLink.objects.filter(long_ago, pk=link.pk).update(last_seen_at=now)
