"""The text fits the platform, as the platform counts."""

from __future__ import annotations

from bots.moderation.contract import PASSED, Finding, Rule, RuleContext


class Length(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        length = context.count(text)
        if length > context.max_length:
            return Finding(
                "block", f"The text counts {length:,} where the platform takes {context.max_length:,}: shorten it."
            )
        return PASSED
