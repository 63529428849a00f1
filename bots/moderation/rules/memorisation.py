"""Copies of training texts: a long run of characters shared with one of them is for a person to look at."""

from __future__ import annotations

from bots.moderation.contract import PASSED, Finding, Rule, RuleContext

LONGEST_SHARED_RUN = 60


class Memorisation(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        shared = context.nearest_shared_run
        if shared is None:
            return Finding("flag", "The text was not compared with the training texts: check that it is not a copy.")
        longest = int(context.settings.get("longest_shared_run", LONGEST_SHARED_RUN))
        if shared >= longest:
            return Finding(
                "flag", f"{shared} characters in a row are those of a training text: check that it is not a copy."
            )
        return PASSED
