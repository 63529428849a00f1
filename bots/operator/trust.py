"""How far the operator can trust an organization, by what it has done so far."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import Count, Sum

from accounts import clock
from accounts.models import Consumption, Organization
from bots.models import Report, Sanction

MEMORY = timedelta(days=365)
"""What is longer ago neither helps nor harms."""
MANY_POSTS = 1000
FULL_AGE, FULL_POSTS, CLEAN = 30, 30, 40
PER_REPORT = 10
PER_SANCTION = {Sanction.Grade.WARNING: 10, Sanction.Grade.REVIEW: 20, Sanction.Grade.SUSPENSION: 40}


@dataclass(frozen=True)
class Trust:
    """An organization's trust, with what it is made of: `days` since it began; of the last year the `posts` it sent,
    the `reports` on it that were upheld and the `sanctions` on it, by grade.

    score = 30 · min(days, 365) / 365 + 30 · min(1, lg(1 + posts) / lg(1 + 1000)) + 40 − 10 · reports
    − 10 · warnings − 20 · reviews − 40 · suspensions, kept within 0 and 100. A sanction that an appeal lifted does not
    count. A new organization without posts has 40.
    """

    days: int
    posts: int
    reports: int
    sanctions: dict[str, int]

    @property
    def score(self) -> int:
        age = FULL_AGE * min(self.days, MEMORY.days) / MEMORY.days
        posts = FULL_POSTS * min(1.0, math.log10(1 + self.posts) / math.log10(1 + MANY_POSTS))
        harm = PER_REPORT * self.reports
        harm += sum(PER_SANCTION[Sanction.Grade(grade)] * count for grade, count in self.sanctions.items())
        return round(min(100.0, max(0.0, age + posts + CLEAN - harm)))

    @property
    def words(self) -> str:
        """What the score is made of."""
        sanctioned = sum(self.sanctions.values())
        parts = [f"{self.days} days old", f"{self.posts:,} posts sent"]
        parts += [f"{self.reports} upheld report{'s' * (self.reports > 1)}"] if self.reports else []
        parts += [f"{sanctioned} sanction{'s' * (sanctioned > 1)}"] if sanctioned else []
        return ", ".join(parts)


def trust_of(organization_ids: Collection[UUID]) -> dict[UUID, Trust]:
    """Four queries, however many organizations: posts are counted by the day's rows of the quota, not one by one."""
    now = clock.now()
    since = now - MEMORY
    ids = list(organization_ids)
    # everyone: the operator compares organizations.
    sent = Consumption.everyone.filter(organization__in=ids, quota="posts_per_day", day__gte=since.date()).order_by()
    posts = dict(sent.values_list("organization").annotate(Sum("amount")))
    # everyone: as above.
    upheld = Report.everyone.filter(organization__in=ids, state=Report.State.UPHELD, decided_at__gte=since).order_by()
    reports = dict(upheld.values_list("organization").annotate(Count("pk")))
    # everyone: as above.
    imposed = Sanction.everyone.filter(organization__in=ids, at__gte=since).exclude(appeal=Sanction.Appeal.GRANTED)
    sanctions: dict[UUID, dict[str, int]] = {}
    for pk, grade, count in imposed.order_by().values_list("organization", "grade").annotate(Count("pk")):
        sanctions.setdefault(pk, {})[grade] = count
    begun = Organization.objects.filter(pk__in=ids).values_list("pk", "created_at")
    return {
        pk: Trust((now - at).days, int(posts.get(pk, 0)), reports.get(pk, 0), sanctions.get(pk, {})) for pk, at in begun
    }
