"""Rules of the whole installation: the kinds that there are, what each is set to, and what one finds in a text.

A kind runs a rule of the registry with settings of its own; whatever that finds leads to the site rule's outcome, so
that an operator may only flag what would be blocked of a bot, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bots.languages import NAMES
from bots.moderation.contract import PASSED, Finding, RuleContext, Verdict
from bots.moderation.registry import ONLY_OF_THE_SITE, RULES
from bots.moderation.rules.pattern import check_patterns

MOST_WORDS = 1000


@dataclass(frozen=True)
class Setting:
    """One thing that a kind of rule is set to. `check` gives the value as it is kept, or raises ValueError in words."""

    label: str
    help: str
    check: Callable[[Any], Any]
    is_list: bool = False


@dataclass(frozen=True)
class SiteCheck:
    """A rule of the installation, ready to run."""

    name: str
    title: str
    kind: str
    settings: Mapping[str, Any]
    outcome: Verdict
    message: str = ""

    def check(self, text: str, context: RuleContext) -> Finding:
        """The rule's outcome where it finds something. It may raise for whatever keeps it from checking."""
        kind = RULES.get(self.kind) or ONLY_OF_THE_SITE[self.kind]
        found = kind.check(text, replace(context, settings=checked(self.kind, self.settings)))
        if found.verdict == "pass":
            return PASSED
        return Finding(self.outcome, f"{self.message or found.reason} (A rule of this installation: {self.title}.)")


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("Give a list of texts.")
    texts = [each.strip() for each in value if each.strip()]
    if not texts:
        raise ValueError("Give at least one.")
    if len(texts) > MOST_WORDS:
        raise ValueError(f"At most {MOST_WORDS} can be used.")
    return texts


def _patterns(value: Any) -> list[str]:
    return list(check_patterns(tuple(_texts(value))))


def _hosts(value: Any) -> list[str]:
    hosts = _texts(value)
    if wrong := [host for host in hosts if "/" in host or "@" in host or "." not in host.strip(".")]:
        raise ValueError(f"“{wrong[0]}” is no host: write it like example.org.")
    return [host.casefold().strip(".") for host in hosts]


def _languages(value: Any) -> list[str]:
    codes = [code.casefold() for code in _texts(value)]
    if unknown := [code for code in codes if code not in NAMES]:
        raise ValueError(f"“{unknown[0]}” is none of {', '.join(NAMES)}.")
    return codes


def _number(least: float, most: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"Give a number between {least:g} and {most:g}.")
        return value

    return check


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"Give a whole number between {least} and {most:,}.")
        return value

    return check


SETTINGS: dict[str, Setting] = {
    "blocklist": Setting("Words and phrases", "One a line. Disguised spellings are seen through.", _texts, True),
    "patterns": Setting(
        "Patterns",
        "One regular expression a line; what cannot be searched in bounded time is refused.",
        _patterns,
        True,
    ),
    "allowed_hosts": Setting("Allowed hosts", "One a line, like example.org; empty: no link at all.", _hosts, True),
    "languages": Setting("Allowed languages", f"One code a line, of {', '.join(NAMES)}.", _languages, True),
    "most": Setting("Most characters", "By the platform's own counting.", _whole(1, 1_000_000)),
    "toxicity": Setting("Threshold", "From 0 to 1; 0.5 unless set.", _number(0.05, 1)),
    "longest_shared_run": Setting(
        "Longest shared run", "Characters in a row that a training text may share; 60 unless set.", _whole(10, 10_000)
    ),
    "likeness": Setting(
        "Likeness", "Share of the text that an earlier post may hold, from 0 to 1; 0.5 unless set.", _number(0.05, 1)
    ),
}
KINDS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "blocklist": ("Blocklist", ("blocklist",), ()),
    "pattern": ("Pattern", ("patterns",), ()),
    "links": ("Links", (), ("allowed_hosts",)),
    "mentions": ("Mentions", (), ()),
    "language": ("Language", ("languages",), ()),
    "length": ("Length", ("most",), ()),
    "toxicity": ("Toxicity", (), ("toxicity",)),
    "personal_data": ("Personal data", (), ()),
    "memorisation": ("Memorisation", (), ("longest_shared_run",)),
    "repetition": ("Repetition", (), ("likeness",)),
}
"""Kind → its label, the settings that it needs, and those that it may have."""


class SettingsError(ValueError):
    """What is wrong with a rule's settings, by the setting's name."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__("; ".join(f"{name}: {words}" for name, words in errors.items()))


def checked(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they are kept. Raises SettingsError for what is missing, unknown or cannot be used."""
    if kind not in KINDS:
        raise SettingsError({"kind": f"“{kind}” is none of {', '.join(KINDS)}."})
    _, needed, optional = KINDS[kind]
    errors = {name: "This rule has no such setting." for name in settings if name not in (*needed, *optional)}
    errors |= {name: "This rule needs it." for name in needed if name not in settings}
    kept: dict[str, Any] = {}
    for name in (*needed, *optional):
        if name in settings:
            try:
                kept[name] = SETTINGS[name].check(settings[name])
            except ValueError as error:
                errors[name] = str(error)
    if errors:
        raise SettingsError(errors)
    return kept
