"""Mentions of accounts: a person looks at them unless the bot's settings say otherwise; calling everybody is never
allowed.
"""

from __future__ import annotations

import re

from bots.moderation.contract import PASSED, Finding, Rule, RuleContext

EVERYBODY = re.compile(r"(?<!\w)@(?:everyone|here|channel|all)\b|<@&\d+>", re.IGNORECASE)
MENTION = re.compile(r"(?<![\w@.])@\w|<@!?\d+>|(?<![\w/])/?u/[\w-]{3}", re.IGNORECASE)


class Mentions(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        if EVERYBODY.search(text):
            return Finding("block", "The text calls everybody in a channel: remove that mention.")
        verdict = context.verdict("mentions", "flag")
        if verdict != "pass" and MENTION.search(text):
            return Finding(verdict, "The text mentions an account: check that its owner would want it.")
        return PASSED
