"""What waits for the operator, of all organizations in one list: posts that rules flagged or blocked, open reports and
open appeals. The gravest first; of equally grave ones those of the least trusted organization; of its own the oldest.

Bounded however many posts there are: of each rule the newest hundred findings of the last thirty days are looked at,
by the index of hits, and of reports and appeals the oldest two hundred.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from accounts import clock
from accounts.models import Organization
from bots.models import Post, Report, Sanction, SiteRule, Verdict
from bots.moderation.registry import RULES
from bots.operator.trust import Trust, trust_of
from bots.services.site_rules import HIT_DAYS, HITS, OPERATOR, labels
from bots.states import PostState

PER_RULE = 100
PER_KIND = 200
PAGE = 50
WAITING = (PostState.PENDING_REVIEW, PostState.BLOCKED)
BUILT_IN = {"blocklist": 4, "personal_data": 3, "pattern": 3, "memorisation": 2, "links": 1, "mentions": 1}
"""How grave a finding of a rule is that every bot has; 1 for the others."""
OF_REPORTS = {
    Report.Category.ILLEGAL: 5,
    Report.Category.THREAT: 5,
    Report.Category.HATE: 4,
    Report.Category.PERSONAL_DATA: 4,
    Report.Category.DECEPTION: 3,
    Report.Category.COPYRIGHT: 3,
    Report.Category.SPAM: 2,
    Report.Category.OTHER: 2,
}
OF_APPEALS = {Sanction.Grade.SUSPENSION: 4, Sanction.Grade.REVIEW: 3, Sanction.Grade.WARNING: 2}
KINDS = {"post": "Posts", "report": "Reports", "appeal": "Appeals"}


@dataclass
class Item:
    """One thing to decide. `row` is the report or the sanction, `post` the post that it is about, if any; `reasons` are
    pairs of who says so (a rule, a category) and what.
    """

    kind: str
    pk: UUID
    organization: Organization
    severity: int
    at: datetime
    reasons: list[tuple[str, str]]
    post: Post | None = None
    row: Any = None
    trust: Trust | None = None

    @property
    def order(self) -> tuple[int, int, datetime]:
        return (-self.severity, self.trust.score if self.trust else 0, self.at)


def items(kind: str = "") -> tuple[list[Item], dict[str, int]]:
    """What waits, in the order in which to look at it, and how much of each kind there is."""
    found = [*_posts(), *_reports(), *_appeals()]
    counts = {name: sum(item.kind == name for item in found) for name in KINDS}
    trusts = trust_of({item.organization.pk for item in found})
    for item in found:
        item.trust = trusts[item.organization.pk]
    wanted = [item for item in found if not kind or item.kind == kind]
    return sorted(wanted, key=lambda item: item.order), counts


def _posts() -> Iterable[Item]:
    site = {rule.name_of_verdicts: rule for rule in SiteRule.objects.all()}
    hits = _hits([*RULES, *site])
    names = labels()
    # everyone: the operator moderates the whole installation.
    waiting = Post.everyone.filter(pk__in=list(hits), state__in=WAITING).exclude(verdicts__rule=OPERATOR)
    for post in waiting.select_related("organization", "bot"):
        findings = hits[post.pk]
        gravest = max(site[rule].severity if rule in site else BUILT_IN.get(rule, 1) for rule, _, _ in findings)
        reasons = [(names[rule], reason) for rule, reason, _ in findings]
        at = min(moment for _, _, moment in findings)
        yield Item("post", post.pk, post.organization, gravest, at, reasons, post)


def _hits(rules: list[str]) -> dict[UUID, list[tuple[str, str, datetime]]]:
    """Post → rule, reason and moment of each of its findings."""
    since = clock.now() - timedelta(days=HIT_DAYS)
    parts = []
    for rule in rules:
        # everyone: as above.
        of_rule = Verdict.everyone.filter(rule=rule, value__in=HITS, at__gte=since).order_by("-at")
        parts.append(of_rule.values_list("post", "rule", "reason", "at")[:PER_RULE])
    found: dict[UUID, list[tuple[str, str, datetime]]] = {}
    for post_id, rule, reason, at in parts[0].union(*parts[1:], all=True):
        found.setdefault(post_id, []).append((rule, reason, at))
    return found


def _reports() -> Iterable[Item]:
    # everyone: the operator moderates the whole installation.
    waiting = Report.everyone.filter(state=Report.State.OPEN).order_by("created_at")
    for report in waiting.select_related("organization", "post__bot")[:PER_KIND]:
        severity = OF_REPORTS[Report.Category(report.category)]
        reasons = [(report.get_category_display(), report.text or "No words were added.")]
        yield Item("report", report.pk, report.organization, severity, report.created_at, reasons, report.post, report)


def _appeals() -> Iterable[Item]:
    # everyone: as above.
    waiting = Sanction.everyone.filter(appeal=Sanction.Appeal.OPEN).order_by("appealed_at")
    for sanction in waiting.select_related("organization", "bot")[:PER_KIND]:
        severity = OF_APPEALS[Sanction.Grade(sanction.grade)]
        reasons = [(sanction.get_grade_display(), sanction.reason), (sanction.appealed_by, sanction.appeal_text)]
        at = sanction.appealed_at or sanction.at
        yield Item("appeal", sanction.pk, sanction.organization, severity, at, reasons, None, sanction)
