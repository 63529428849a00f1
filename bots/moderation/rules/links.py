"""Links: a person looks at them unless the bot's settings say otherwise."""

from __future__ import annotations

import re

from bots.moderation.contract import PASSED, Finding, Rule, RuleContext

ENDINGS = (
    "app|at|be|biz|blog|ca|ch|co|com|de|dev|edu|es|eu|fr|gg|gov|info|io|it|jp|link|ly|me|net|nl|online|org|pl|ru|se|shop|site|to"
    "|tv|uk|us|xyz"
)
LINK = re.compile(
    rf"\b[a-z][a-z0-9+.-]{{1,20}}://\S|\bwww\.\S|(?<![@\w.-])(?:[a-z0-9-]{{1,63}}\.){{1,6}}(?:{ENDINGS})\b(?![.-]?\w)",
    re.IGNORECASE,
)


class Links(Rule):
    def check(self, text: str, context: RuleContext) -> Finding:
        verdict = context.verdict("links", "flag")
        if verdict != "pass" and LINK.search(_without(text, context.texts("allowed_hosts"))):
            return Finding(verdict, "The text holds a link: check where it leads.")
        return PASSED


def _without(text: str, hosts: tuple[str, ...]) -> str:
    """The text without links to these hosts and what is below them; an address that only begins or ends like one, or
    names one as its user, stays.
    """
    for host in hosts:
        address = rf"(?:https?://)?(?<![\w.@-])(?:[\w-]{{1,63}}\.){{0,6}}{re.escape(host)}(?![\w@:-]|\.\w)(?:[/?#]\S*)?"
        text = re.sub(address, " ", text, flags=re.IGNORECASE)
    return text
