"""Rules of the whole installation: made and changed by its operator, run on every post, tried out before they are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import cast

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count

from accounts import clock
from bots.models import SiteRule, Takedown, Verdict
from bots.moderation import Check, moderate
from bots.moderation.contract import PASSED, Finding, RuleContext
from bots.moderation.contract import Verdict as Outcome
from bots.moderation.registry import RULES
from bots.moderation.site import SettingsError, SiteCheck, checked

TAKEN_DOWN = "taken_down"
"""The rule that a text which was taken down stays down."""
OPERATOR = "operator"
"""The rule of verdicts that the operator gave."""
HIT_DAYS = 30
HITS = (Verdict.Value.FLAG, Verdict.Value.BLOCK)


def check_rule(rule: SiteRule) -> None:
    """Settle a rule's settings. Raises ValidationError, saying by the setting's name what is wrong."""
    try:
        rule.settings = checked(rule.kind, rule.settings)
    except SettingsError as error:
        raise ValidationError(error.errors) from None
    rule.clean_fields()
    rule.validate_unique()


def as_check(rule: SiteRule) -> SiteCheck:
    """The rule, ready to run."""
    outcome = cast(Outcome, str(rule.outcome))
    return SiteCheck(rule.name_of_verdicts, rule.name, rule.kind, rule.settings, outcome, rule.message)


def checks() -> list[tuple[str, Check]]:
    """The rules in force, by the name of their verdicts. Read at every post: a change holds from the next one on, in
    every process.
    """
    found = [as_check(rule) for rule in SiteRule.objects.filter(active=True)]
    return [*((each.name, each.check) for each in found), (TAKEN_DOWN, _taken_down)]


def _taken_down(text: str, context: RuleContext) -> Finding:
    """Blocks what was taken down from the active organization, word for word."""
    if text.strip() and Takedown.objects.filter(evidence__text=text).exists():
        return Finding("block", "The operator of this installation took this very text down.")
    return PASSED


def labels() -> dict[str, str]:
    """Rule of a verdict → its name for people."""
    site = {rule.name_of_verdicts: rule.name for rule in SiteRule.objects.all()}
    own = {OPERATOR: "The operator", TAKEN_DOWN: "Taken down before"}
    return {name: kind.label for name, kind in RULES.items()} | site | own


def hit_counts() -> dict[str, int]:
    """Rule of a verdict → posts that it flagged or blocked in the last 30 days, across organizations."""
    since = clock.now() - timedelta(days=HIT_DAYS)
    names = [*(rule.name_of_verdicts for rule in SiteRule.objects.all()), *RULES, OPERATOR, TAKEN_DOWN]
    # everyone: how often a rule hits is counted over the whole installation.
    hits = Verdict.everyone.filter(rule__in=names, value__in=HITS, at__gte=since).order_by()
    return dict(hits.values_list("rule").annotate(Count("pk")))


def try_text(text: str, more: Iterable[SiteRule] = ()) -> list[tuple[str, Finding]]:
    """What every rule says of a text on its own, by the rule's name for people: as of a person's post, on a platform
    that takes any length. `more` are rules that are not kept, or not in force. Nothing is written.
    """
    context = RuleContext(max_length=100_000, nearest_shared_run=0)
    rules = {rule.name_of_verdicts: rule for rule in [*SiteRule.objects.filter(active=True), *more]}
    found = moderate(text, context, *((rule.name_of_verdicts, as_check(rule).check) for rule in rules.values()))
    titles = {name: kind.label for name, kind in RULES.items()} | {name: rule.name for name, rule in rules.items()}
    return [(titles[name], finding) for name, finding in found]


@transaction.atomic
def keep(rule: SiteRule) -> SiteRule:
    """Keep a new or changed rule: it holds from the next post on. Raises ValidationError."""
    check_rule(rule)
    rule.save()
    return rule
