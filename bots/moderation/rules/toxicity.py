"""Toxicity: the worst of what the word list and the built-in classifier hear in a text, and of what was measured when a
model wrote it."""

from __future__ import annotations

from bots import toxicity
from bots.moderation.contract import PASSED, Finding, Rule, RuleContext

THRESHOLD = 0.5


class Toxicity(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        found = max(toxicity.heard(text), context.measured_toxicity)
        if found >= context.number("toxicity", THRESHOLD):
            return Finding("flag", f"The text sounds hostile ({found:.2f} of 1).")
        return PASSED
