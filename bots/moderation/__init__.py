"""Moderation: every post goes through every rule before it can be approved, and a check that cannot run blocks."""

from __future__ import annotations

import logging

from bots.moderation.contract import VERDICTS, Finding, Rule, RuleContext, Verdict
from bots.moderation.registry import RULES

__all__ = ["RULES", "Finding", "Rule", "RuleContext", "Verdict", "moderate", "worst"]

logger = logging.getLogger(__name__)


def moderate(text: str, context: RuleContext) -> list[tuple[str, Finding]]:
    """Every rule's finding by the rule's name, passes included. Never raises for a rule: one that fails has blocked."""
    return [(name, _run(name, text, context)) for name in RULES]


def worst(findings: list[tuple[str, Finding]]) -> Verdict:
    """The most severe verdict; "block" when nothing was checked at all."""
    return max((finding.verdict for _, finding in findings), key=VERDICTS.index, default="block")


def _run(name: str, text: str, context: RuleContext) -> Finding:
    try:
        return RULES[name].load().check(text, context)
    except Exception as error:
        # The text stays out of the log: it may hold what must not be published.
        logger.warning("Moderation rule %s could not run: %s", name, type(error).__name__, exc_info=True)
        return Finding(
            "block", f"This check could not run ({type(error).__name__}: {error}), so the post is held back."
        )
