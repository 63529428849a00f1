"""Moderation: every post goes through every rule before it can be approved, and a check that cannot run blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from bots.moderation.contract import VERDICTS, Finding, Rule, RuleContext, Verdict
from bots.moderation.registry import RULES

__all__ = ["RULES", "Check", "Finding", "Rule", "RuleContext", "Verdict", "judge", "moderate", "worst"]

logger = logging.getLogger(__name__)
Check = Callable[[str, RuleContext], Finding]


def moderate(text: str, context: RuleContext, *more: tuple[str, Check]) -> list[tuple[str, Finding]]:
    """Every rule's finding by the rule's name, passes included; `more` are the installation's own. Never raises for a
    rule: one that fails has blocked.
    """
    return judge(text, context, [*((name, kind.check) for name, kind in RULES.items()), *more])


def judge(text: str, context: RuleContext, checks: Iterable[tuple[str, Check]]) -> list[tuple[str, Finding]]:
    """The findings of these rules alone."""
    return [(name, _run(name, check, text, context)) for name, check in checks]


def worst(findings: list[tuple[str, Finding]]) -> Verdict:
    """The most severe verdict; "block" when nothing was checked at all."""
    return max((finding.verdict for _, finding in findings), key=VERDICTS.index, default="block")


def _run(name: str, check: Check, text: str, context: RuleContext) -> Finding:
    try:
        return check(text, context)
    except Exception as error:
        # The text stays out of the log: it may hold what must not be published.
        logger.warning("Moderation rule %s could not run: %s", name, type(error).__name__, exc_info=True)
        return Finding(
            "block", f"This check could not run ({type(error).__name__}: {error}), so the post is held back."
        )
