"""Texts that were asked for, as pages show them: how probable each token was, and what the critics think."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accounts import clock
from training.models import Generation

BANDS = (("50 % and more", 0.5), ("20–50 %", 0.2), ("5–20 %", 0.05), ("1–5 %", 0.01), ("below 1 %", 0.0))
"""Words for a token's probability, and from where on they hold; the page has a colour and a line for each."""
PATIENCE = 20.0
"""Seconds after which a request that waits says why that may be."""


@dataclass(frozen=True)
class Token:
    """What a token added to its text ("" where only a part of a character) and how probable it was."""

    text: str
    logprob: float

    @property
    def probability(self) -> float:
        return math.exp(self.logprob)

    @property
    def band(self) -> int:
        """Its place in `BANDS`."""
        return next(at for at, (_, least) in enumerate(BANDS) if self.probability >= least)

    @property
    def percent(self) -> str:
        share = 100 * self.probability
        return f"{share:.1f} %" if share >= 0.1 else "below 0.1 %"


@dataclass(frozen=True)
class Drawn:
    """One text. `tokens` are those that can be seen, a character's several ones as one; `rows` all of them with the
    text's end, which add up to `logprob`.
    """

    text: str
    tokens: tuple[Token, ...]
    rows: tuple[Token, ...]
    end: Token | None
    logprob: float
    ended: bool
    scores: Mapping[str, Any]

    @property
    def realism(self) -> float | None:
        """Percent."""
        share = self.scores.get("realism")
        return None if share is None else 100 * share


def drawn(generation: Generation) -> list[Drawn]:
    """The texts of an answered request."""
    return [_drawn(sample) for sample in generation.samples]


def _drawn(sample: Mapping[str, Any]) -> Drawn:
    rows = tuple(Token(text, logprob) for text, logprob in sample.get("pieces", ()))
    # What the tokens leave of the text's log-probability is its end's.
    rest = sample["logprob"] - sum(token.logprob for token in rows)
    end = Token("", min(0.0, rest)) if sample["ended"] and rows else None
    return Drawn(
        sample["text"], _visible(rows), rows, end, sample["logprob"], sample["ended"], sample.get("scores", {})
    )


def _visible(rows: Sequence[Token]) -> tuple[Token, ...]:
    found, carried = [], 0.0
    for token in rows:
        carried += token.logprob
        if token.text:
            found.append(Token(token.text, carried))
            carried = 0.0
    return tuple(found)


def waiting(generation: Generation) -> dict[str, Any]:
    """How long an unanswered request has waited, in whole seconds, and whether that is longer than usual."""
    seconds = (clock.now() - generation.created_at).total_seconds()
    return {"seconds": max(0, round(seconds)), "long": seconds >= PATIENCE}
