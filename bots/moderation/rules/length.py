"""The text fits the platform, as the platform counts."""

from __future__ import annotations

from bots.moderation.contract import PASSED, Finding, Rule, RuleContext


class Length(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        length = context.count(text)
        most = context.settings.get("most")
        if most is not None and length > context.number("most", 0):
            return Finding("flag", f"The text counts {length:,} where {most:,} are allowed: shorten it.")
        if length > context.max_length:
            return Finding(
                "block", f"The text counts {length:,} where the platform takes {context.max_length:,}: shorten it."
            )
        return PASSED
