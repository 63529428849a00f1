"""Trying rules of the installation out on the posts that there are. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef

from accounts.models import Organization
from accounts.tenancy import tenant
from bots.models import Post, SiteRule
from bots.moderation import judge
from bots.moderation.contract import Finding
from bots.moderation.earlier import EarlierTexts
from bots.moderation.site import SiteCheck
from bots.services import posts
from bots.services.site_rules import as_check

NEWEST = 1000


@dataclass(frozen=True)
class Trial:
    """What the rules would say of one post now: `value` is the worst of `findings` that are no passes."""

    post: Post
    findings: list[tuple[str, Finding]]

    @property
    def value(self) -> str:
        return "block" if any(found.verdict == "block" for _, found in self.findings) else "flag"


def dry_run(rules: Iterable[SiteRule]) -> tuple[int, list[Trial]]:
    """What these rules would have said of the installation's last 1,000 posts, newest first: (posts looked at, those
    with findings). Each post is compared with its bot's other posts among them that are older. Nothing is written.
    """
    found = [as_check(rule) for rule in rules]
    # everyone: the operator looks at the newest posts of the whole installation.
    rows = Post.everyone.filter(pk__in=newest_posts()).select_related("organization", "bot__connection")
    newest, trials = list(rows), []
    for _, of_bot in groupby(sorted(newest, key=lambda post: (str(post.bot_id), post.created_at)), lambda p: p.bot_id):
        earlier = EarlierTexts()
        for post in of_bot:
            hits = _hits(post, found, earlier)
            trials += [Trial(post, hits)] if hits else []
            earlier.add(post.text)
    return len(newest), sorted(trials, key=lambda trial: trial.post.created_at, reverse=True)


def _hits(post: Post, found: list[SiteCheck], earlier: EarlierTexts) -> list[tuple[str, Finding]]:
    with tenant(post.organization_id):
        context = posts.context_of(post.bot, post, earlier)
    findings = judge(post.text, context, ((check.title, check.check) for check in found))
    return [(title, finding) for title, finding in findings if finding.verdict != "pass"]


def newest_posts() -> list[UUID]:
    """The ids of the installation's last 1,000 posts, newest first, without sorting them all: from the newest of each
    organization.
    """
    # everyone: the operator looks at the newest posts of the whole installation.
    of_one = Post.everyone.filter(organization=OuterRef("pk")).order_by("-created_at", "-id")
    newest = Organization.objects.annotate(newest=ArraySubquery(of_one.values("created_at")[:NEWEST]))
    moments = {pk: times for pk, times in newest.values_list("pk", "newest") if times}
    last = sorted((moment for times in moments.values() for moment in times), reverse=True)[:NEWEST]
    if not last:
        return []
    theirs = [pk for pk, times in moments.items() if times[0] >= last[-1]]
    # everyone: as above.
    found = Post.everyone.filter(organization__in=theirs, created_at__gte=last[-1])
    return list(found.order_by("-created_at", "-id").values_list("pk", flat=True)[:NEWEST])
