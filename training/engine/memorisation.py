"""How much of what a model writes it has by heart, measured on its samples while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.engine.guards import TextIndex, is_memorised
from training.engine.words import words


@dataclass(frozen=True)
class Memorisation:
    """What samples share with the training texts. `rate` is the share of them that are nearly a training text;
    `characters` and `words` are the longest runs that a sample shares with the text nearest to it. `sample` and
    `nearest_text` are the worst pair.
    """

    rate: float
    characters: int
    words: int
    sample: str
    nearest_text: str

    @property
    def metrics(self) -> dict[str, float]:
        """By standard name."""
        return {
            "memorised_rate": self.rate,
            "longest_shared_run": float(self.characters),
            "longest_shared_words": float(self.words),
        }

    def as_json(self) -> dict[str, Any]:
        """For a report: the metrics, and the worst pair."""
        return {**self.metrics, "sample": self.sample, "nearest_text": self.nearest_text}


def measure(samples: Sequence[str], training: TextIndex) -> Memorisation:
    """What `samples` share with the texts of `training`; see `guards.is_memorised` for what counts as nearly one."""
    copied = [is_memorised(sample, training) for sample in samples]
    nearest = [training.nearest(sample) for sample in samples]
    shared = [
        longest_shared_words(sample, text) if text else 0 for sample, (text, _) in zip(samples, nearest, strict=True)
    ]
    if not samples:
        return Memorisation(0.0, 0, 0, "", "")
    worst = max(range(len(samples)), key=lambda i: (copied[i], nearest[i][1], shared[i]))
    return Memorisation(
        rate=sum(copied) / len(copied),
        characters=max(run for _, run in nearest),
        words=max(shared),
        sample=samples[worst],
        nearest_text=nearest[worst][0],
    )


def longest_shared_words(first: str, second: str) -> int:
    """Length in words of the longest run of words that both texts hold."""
    best = 0
    other = words(second)
    ending = [0] * (len(other) + 1)  # of the run that ends with this pair of words
    for word in words(first):
        ending = [0, *(ending[at] + 1 if word == other[at] else 0 for at in range(len(other)))]
        best = max(best, *ending)
    return best
