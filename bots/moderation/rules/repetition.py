"""Repetition: of an earlier post, and of itself.

Likeness is containment (Broder 1997): the share of this text's word trigrams that an earlier text holds.
"""

from __future__ import annotations

from bots.moderation.contract import PASSED, Finding, Rule, RuleContext
from bots.moderation.earlier import EarlierTexts
from bots.moderation.words import grams, words

COPY = 0.9
LIKE = 0.5
# A text of fewer trigrams is easily part of another: only the same words make it a copy.
FEWEST = 6
DISTINCT = 0.5
SAME_WORD_RUN = 4


class Repetition(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        tokens = words(text)
        own = grams(tokens, 3)
        earlier = EarlierTexts.of(context.earlier_texts)
        likeness = _likeness(text, set(own), earlier)
        if likeness >= COPY and (len(own) >= FEWEST or not tokens or earlier.says(tokens)):
            return Finding("block", "The bot has posted this before, all but word for word.")
        if _stuck(tokens, own):
            return Finding("flag", "The text repeats itself.")
        if likeness > context.number("likeness", LIKE):
            return Finding("flag", f"{likeness:.0%} of the text is in an earlier post.")
        return PASSED


def _likeness(text: str, own: set[tuple[str, ...]], earlier: EarlierTexts) -> float:
    """The largest containment of the text in an earlier one; texts without words are like only to themselves."""
    if not own:
        return float(bool(text.strip()) and earlier.shows(text))
    return earlier.containment(own)


def _stuck(tokens: list[str], own: list[tuple[str, ...]]) -> bool:
    if any(len(set(run)) == 1 for run in grams(tokens, SAME_WORD_RUN) if len(run) == SAME_WORD_RUN):
        return True
    return len(own) >= FEWEST and len(set(own)) / len(own) <= DISTINCT
