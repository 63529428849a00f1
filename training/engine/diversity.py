"""How varied a set of posts is, and how much of it is copied. All figures are shares or scores between 0 and 1."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

from training.engine.guards import TextIndex, is_memorised
from training.engine.words import Gram, ngrams, words


def distinct_n(texts: Sequence[str], size: int = 2) -> float:
    """Different word n-grams over all word n-grams (Li et al. 2016); 0 for no words. Depends on the set's size: see
    `distinct_at`.
    """
    grams = [gram for text in texts for gram in ngrams(words(text), size)]
    return len(set(grams)) / len(grams) if grams else 0.0


def distinct_at(texts: Sequence[str], count: int, size: int = 2, draws: int = 8, seed: int = 0) -> float:
    """`distinct_n` averaged over random subsets of `count` texts, so that sets of different sizes can be compared."""
    if len(texts) <= count:
        return distinct_n(texts, size)
    rng = random.Random(seed)  # nosec B311 # statistics
    return sum(distinct_n(rng.sample(list(texts), count), size) for _ in range(draws)) / draws


def self_bleu(texts: Sequence[str], longest: int = 3, limit: int = 64) -> float:
    """Mean BLEU of each text against all the others (Zhu et al. 2018, "Texygen"), n-grams up to `longest`, at most
    `limit` texts.

    Precisions are smoothed by +1 (Lin and Och 2004) beyond single words; 0 for fewer than two texts.
    """
    counted = [_gram_counts(text, longest) for text in texts[-limit:] if words(text)]
    if len(counted) < 2:
        return 0.0
    tops = [_two_highest([one[order] for one in counted]) for order in range(longest)]
    lengths = sorted(sum(one[0].values()) for one in counted)
    return sum(_bleu(one, tops, lengths) for one in counted) / len(counted)


def duplicate_rate(texts: Sequence[str]) -> float:
    """Share of texts that nearly repeat an earlier one: more than half of their word trigrams are in it."""
    index = TextIndex()
    repeats = 0
    for text in texts:
        repeats += index.containment(text) > 0.5
        index.add(text)
    return repeats / len(texts) if texts else 0.0


def memorised_rate(texts: Sequence[str], training: TextIndex) -> float:
    """Share of texts that are memorised from the training texts in `training` (see `guards.is_memorised`)."""
    return sum(is_memorised(text, training) for text in texts) / len(texts) if texts else 0.0


def _gram_counts(text: str, longest: int) -> list[Counter[Gram]]:
    tokens = words(text)
    return [Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)) for n in range(1, longest + 1)]


def _two_highest(counts: Sequence[Counter[Gram]]) -> dict[Gram, tuple[int, int]]:
    """Per n-gram its two highest counts over the texts: leaving a text out then needs no second pass."""
    tops: dict[Gram, tuple[int, int]] = {}
    for counter in counts:
        for gram, count in counter.items():
            first, second = tops.get(gram, (0, 0))
            tops[gram] = (count, first) if count > first else (first, max(second, count))
    return tops


def _bleu(own: list[Counter[Gram]], tops: list[dict[Gram, tuple[int, int]]], lengths: list[int]) -> float:
    logs = []
    for order, (counter, top) in enumerate(zip(own, tops, strict=True)):
        matched = 0
        for gram, count in counter.items():
            first, second = top[gram]
            matched += min(count, second if count == first else first)
        smoothing = 1 if order else 0
        precision = (matched + smoothing) / max(1, sum(counter.values()) + smoothing)
        if precision == 0:
            return 0.0
        logs.append(math.log(precision))
    length = sum(own[0].values())
    others = list(lengths)
    others.remove(length)
    closest = min(others, key=lambda other: (abs(other - length), other))
    brevity = 1.0 if length >= closest else math.exp(1 - closest / length)
    return brevity * math.exp(sum(logs) / len(logs))
