"""Regular expressions of the bot's own; a text that holds one is blocked."""

from __future__ import annotations

from bots.moderation.automaton import compile_pattern
from bots.moderation.contract import PASSED, Finding, Rule, RuleContext

MOST_PATTERNS = 100


class Pattern(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        for pattern in check_patterns(context.texts("patterns")):
            if compile_pattern(pattern).search(text):
                return Finding("block", f"The text matches the blocked pattern “{pattern}”.")
        return PASSED


def check_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The same patterns. Raises PatternError, in words for their author, for too many or one that cannot be used."""
    if len(patterns) > MOST_PATTERNS:
        raise ValueError(f"there are {len(patterns)} patterns; at most {MOST_PATTERNS} can be used")
    for pattern in patterns:
        compile_pattern(pattern)
    return patterns
