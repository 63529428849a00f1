"""After the database was put back to an earlier moment: nothing is sent, and what may have been sent is looked for."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Least, Now

from accounts import audit, clock, site
from accounts.models import Organization
from accounts.tenancy import tenant
from bots.models import Post
from bots.services.scheduling import AHEAD
from bots.services.steps import QUIESCENCE
from bots.states import PostState, check

log = logging.getLogger(__name__)

ON_THEIR_WAY = (PostState.QUEUED, PostState.LEASED, PostState.SENDING)


def keep_pulse() -> int:
    """Beat's tick, and the first act of an installation that starts: notice a restored database, else write the pulse.
    Returns how many posts became unknown.
    """
    since = site.lost_since()
    if since is None:
        site.beat()
        return 0
    return doubt_everything_since(since)


@transaction.atomic
def doubt_everything_since(since: datetime) -> int:
    """Pause the installation, and make every post unknown that may have been sent after that moment. The reconciler
    looks for them before anything is sent again.
    """
    log.error("the database was put back to %s: publishing is paused", since.isoformat())
    site.pause_site(site.RESTORED)
    doubtful = 0
    for organization in Organization.objects.all():
        with tenant(organization.pk):
            if posts := _doubt(since):
                audit.record("organization.restored", organization, after={"to": since.isoformat(), "posts": posts})
                doubtful += posts
    site.beat()
    return doubtful


def _doubt(since: datetime) -> int:
    for state in (PostState.APPROVED, PostState.SCHEDULED, *ON_THEIR_WAY):
        check(state, PostState.UNKNOWN)
    doubted: int = Post.objects.filter(_may_be_out(since)).update(
        state=PostState.UNKNOWN,
        fence=F("fence") + 1,
        owner="",
        lease_until=None,
        sent_at=Least(Coalesce("sent_at", since), since),
        not_before=Now() + QUIESCENCE,
        absences=0,
        looked_for_at=None,
        last_error="The database was restored: it may have been sent meanwhile.",
        updated_at=clock.now(),
    )
    return doubted


def _may_be_out(since: datetime) -> Q:
    """Which posts of that moment may have been sent since: those on their way, and those whose slot has come; of those
    without a slot whatever is sent without one (replies, and the later parts of threads), what had only just been
    approved, and everything when more time was lost than slots are given out for.
    """
    now = clock.now()
    found = Q(state__in=ON_THEIR_WAY) | Q(state=PostState.SCHEDULED, slot_utc__lte=now)
    approved = Q(state=PostState.APPROVED)
    if now - since < AHEAD - site.LAG:
        unslotted = Q(kind=Post.Kind.REPLY) | Q(continues__isnull=False) | Q(approved_at__gt=since - site.LAG)
        approved &= unslotted
    return found | approved
