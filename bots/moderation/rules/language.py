"""Languages: a text in another language than those that are allowed. One whose language does not show passes."""

from __future__ import annotations

from bots.languages import NAMES, language_of
from bots.moderation.contract import PASSED, Finding, Rule, RuleContext


class Language(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        allowed = context.texts("languages")
        found = language_of(text)
        if allowed and found and found not in allowed:
            return Finding("flag", f"The text seems to be {NAMES[found]}, which is not allowed here.")
        return PASSED
