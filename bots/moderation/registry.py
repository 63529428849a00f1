"""The rules every post goes through, in this order: name → label and class, imported on first use. And those that the
operator of an installation may add to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from bots.moderation.contract import Finding, Rule, RuleContext


@dataclass(frozen=True)
class RuleKind:
    """One entry; `rule` is the dotted path of its class."""

    label: str
    rule: str

    def load(self) -> Rule:
        module, _, name = self.rule.rpartition(".")
        rule: type[Rule] = getattr(import_module(module), name)
        return rule()

    def check(self, text: str, context: RuleContext) -> Finding:
        """Judge one text."""
        return self.load().check(text, context)


RULES: dict[str, RuleKind] = {
    "length": RuleKind("Fits the platform", "bots.moderation.rules.length.Length"),
    "blocklist": RuleKind("No blocked words", "bots.moderation.rules.blocklist.Blocklist"),
    "pattern": RuleKind("No blocked patterns", "bots.moderation.rules.pattern.Pattern"),
    "links": RuleKind("Links", "bots.moderation.rules.links.Links"),
    "mentions": RuleKind("Mentions", "bots.moderation.rules.mentions.Mentions"),
    "personal_data": RuleKind("No personal data", "bots.moderation.rules.personal_data.PersonalData"),
    "repetition": RuleKind("Not said before", "bots.moderation.rules.repetition.Repetition"),
    "memorisation": RuleKind("Not copied from training texts", "bots.moderation.rules.memorisation.Memorisation"),
}
ONLY_OF_THE_SITE: dict[str, RuleKind] = {
    "language": RuleKind("Language", "bots.moderation.rules.language.Language"),
    "toxicity": RuleKind("Toxicity", "bots.moderation.rules.toxicity.Toxicity"),
}
