"""What a moderation rule is: text in, verdict out. Standard library only: no Django, no models, no network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

Verdict = Literal["pass", "flag", "block"]
VERDICTS: tuple[Verdict, ...] = ("pass", "flag", "block")


@dataclass(frozen=True)
class Finding:
    """A rule's answer. "flag" sends the post to a person, "block" keeps it from being published; `reason` is for
    people.
    """

    verdict: Verdict
    reason: str = ""


PASSED = Finding("pass")


@dataclass(frozen=True)
class RuleContext:
    """What rules may know besides the text.

    `count` measures the text as the platform does, against `max_length`. `earlier_texts` are the bot's own posts
    (`EarlierTexts`, where there are many).
    `settings` are the bot's, or those of one rule of the installation: `blocklist`, `patterns`, `languages` (codes) and
    `allowed_hosts` (lists of texts), `links` and `mentions` (a verdict), `most` and `longest_shared_run` (characters),
    `likeness` and `toxicity` (of 1). `nearest_shared_run` is the longest run of characters shared with a training
    text: 0 for what a person wrote, None if unknown. `measured_toxicity` is what a classifier of the hub said when the
    text was written, 0 if none did.
    """

    max_length: int
    count: Callable[[str], int] = len
    earlier_texts: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    nearest_shared_run: int | None = None
    measured_toxicity: float = 0.0

    def texts(self, name: str) -> tuple[str, ...]:
        """A setting that is a list of texts; empty when it is not set. Raises ValueError for anything else."""
        value = self.settings.get(name) or ()
        if isinstance(value, str) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"the setting “{name}” is not a list of texts")
        return tuple(value)

    def number(self, name: str, default: float) -> float:
        """A setting that is a number. Raises ValueError for anything else."""
        value = self.settings.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"the setting “{name}” is no number")
        return value

    def verdict(self, name: str, default: Verdict) -> Verdict:
        """A setting that is a verdict. Raises ValueError for anything else."""
        value = self.settings.get(name, default)
        if value not in VERDICTS:
            raise ValueError(f"the setting “{name}” is none of {', '.join(VERDICTS)}")
        return cast(Verdict, value)


class Rule(ABC):
    """One check. It may raise for whatever keeps it from checking: that blocks the post."""

    @abstractmethod
    def check(self, text: str, context: RuleContext) -> Finding:
        """Judge one text."""
