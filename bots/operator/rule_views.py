"""Trying rules out before they hold: a text against all of them, and a rule against the newest posts."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from accounts.operator import operator_page, panel
from bots.models import SiteRule
from bots.services.rule_trials import dry_run as dry_run_of
from bots.services.site_rules import try_text

LONGEST = 20_000
SHOWN = 200


@operator_page("bots.view_siterule")
def test_box(request: HttpRequest) -> HttpResponse:
    """Paste a text; the verdict of each rule."""
    text = request.POST.get("text", "").replace("\0", "")[:LONGEST]
    findings = try_text(text) if text.strip() else []
    return panel(request, "operator/try.html", "Try a text", {"text": text, "findings": findings})


@operator_page("bots.view_siterule")
def dry_run(request: HttpRequest) -> HttpResponse:
    """What one rule (active or not), or all active ones, would have said of the newest posts."""
    chosen = request.GET.get("rule", "")
    rules = SiteRule.objects.filter(pk=chosen) if chosen.isdigit() else SiteRule.objects.filter(active=True)
    context = {"rules": SiteRule.objects.all(), "chosen": chosen, "run": "run" in request.GET}
    if context["run"]:
        looked_at, trials = dry_run_of(rules)
        blocked = sum(trial.value == "block" for trial in trials)
        context |= {"looked_at": looked_at, "trials": trials[:SHOWN], "blocked": blocked}
        context["flagged"] = len(trials) - blocked
        context["more"] = max(0, len(trials) - SHOWN)
    return panel(request, "operator/dry_run.html", "Dry run", context)
