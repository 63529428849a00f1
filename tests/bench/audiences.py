"""A second simulated audience, made unlike the sandbox's. HELD OUT: NEVER TUNE ON IT.

No knob of the learning loop may be chosen by how it does here: this is where a loop that only fits the sandbox's
audience is found out. Nothing of it is fitted to data, and nothing is shared with the sandbox's but the costs of
gibberish, repetition and unfinished texts, which say that a text is broken, not what people like.

It likes or dislikes, with weights drawn once from a fixed seed and each on its own scale: fields of words (hand-made
lists, each word with a little weight of its own, so that no list is all good), a length of its own, questions, warm
words more than cold ones, numbers, the sound of words (letters, doubled letters, alliteration), and pairs of these.
Scores of past posts are what this audience would have given them, as noisy a guide to it as real scores are to the
sandbox's audience (correlation 0.098).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from faces.kinds.sandbox import features
from faces.kinds.sandbox.audience import APPEAL_LIMIT, APPEAL_SD, Audience
from tests.bench.simulation import Past, past
from training.engine.types import HistoricPost

SEED = 20_260_105
HISTORY_CORRELATION = 0.098
WORD_SD = 0.35

FIELDS: dict[str, str] = {
    "sky": "space nasa moon mars star stars planet planets sun galaxy orbit rocket earth telescope comet satellite",
    "screen": "phone android app apps google screen tablet samsung nexus device mobile iphone apple battery camera",
    "code": "python code programming language software linux open source git developer developers bug library "
    "kernel server web javascript data api",
    "body": "brain body blood cancer disease cells health drug drugs eat food sleep water skin heart pain doctor",
    "page": "book books read reading novel author write writing story fiction library words",
    "money": "money pay buy cost price free bank tax business company job work million billion",
    "law": "government law police rights patent court nsa privacy fbi ban legal fight internet net",
    "home": "house kitchen car clean door room wash cook family kids home bed clothes",
    "people": "people man woman men women someone friend friends guy kid children everyone",
    "time": "day year years time hour minutes week today first new old future history last",
    "ask": "how why what when where who which eli5",
    "map": "map city world america china japan europe country countries state states us uk",
    "thought": "think know believe idea theory science study research scientists physics math question",
}  # fmt: skip
_WARM = "good great best love beautiful awesome amazing happy free easy helpful better cool nice fun win"
_COLD = "bad worst hate dead death kill killed die war fear wrong stupid broken fail never illegal sick"
MEASURES = (
    *FIELDS, "length", "question", "warmth", "number", "vowels", "doubled", "alliteration", "long_words", "capitals",
    "quoted", "you_and_time", "warm_ask", "code_number",
)  # fmt: skip


class HeldOutAudience:
    """See the module's text. Deterministic: a function of the text alone."""

    name = "heldout"

    def __init__(self) -> None:
        random = np.random.default_rng(SEED)
        signs = random.choice([-1.0, 1.0], len(MEASURES))
        self._weights = signs * random.uniform(0.4, 1.2, len(MEASURES))
        self._wanted_length = random.uniform(3.8, 4.6)
        real = np.array([self._measures(text) for text, *_ in past()])
        self._mean, self._sd = real.mean(axis=0), real.std(axis=0)
        scores = self._scores(real)
        self._centre, self._spread = float(scores.mean()), float(scores.std())

    def expected(self, texts: Sequence[str]) -> np.ndarray:
        """True expected reaction of each text, log units."""
        appeal = (self._scores(np.array([self._measures(text) for text in texts])) - self._centre) / self._spread
        broken = np.array([o.gibberish + o.repetition + o.unfinished for o in Audience.load().opinions(texts)])
        liked: np.ndarray = APPEAL_SD * APPEAL_LIMIT * np.tanh(appeal / APPEAL_LIMIT) - broken
        return liked

    def history(self, rows: Sequence[Past]) -> tuple[HistoricPost, ...]:
        """Each past post with this audience's opinion of it, mostly drowned in noise."""
        truth = self.expected([text for text, *_ in rows])
        truth = (truth - truth.mean()) / truth.std()
        noise = np.random.default_rng(SEED + 1).standard_normal(len(rows))
        scores = HISTORY_CORRELATION * truth + np.sqrt(1 - HISTORY_CORRELATION**2) * noise
        return tuple(HistoricPost(text, float(score)) for (text, *_), score in zip(rows, scores, strict=True))

    def _scores(self, measured: np.ndarray) -> np.ndarray:
        limited = np.clip((measured - self._mean) / self._sd, -features.STYLE_LIMIT, features.STYLE_LIMIT)
        scores: np.ndarray = limited @ self._weights
        return scores

    def _measures(self, text: str) -> list[float]:
        """The `MEASURES` of a text."""
        found = features.tokens(text)
        words = [token for token in found if features.is_word(token)]
        count = max(1, len(words))
        letters = "".join(words)
        fields = {
            name: sum(own_weight(word) for word in words if word in members) / np.sqrt(count)
            for name, members in _FIELD_WORDS.items()
        }
        warmth = (sum(word in WARM for word in words) - sum(word in COLD for word in words)) / np.sqrt(count)
        asks, numbers = float("?" in text), float(features.NUMBER in found)
        return [
            *fields.values(),
            -abs(np.log1p(len(text)) - self._wanted_length),
            asks,
            warmth,
            numbers,
            sum(letter in "aeiou" for letter in letters) / max(1, len(letters)),
            sum(left == right for left, right in pairwise(letters)) / max(1, len(letters)),
            sum(left[0] == right[0] for left, right in pairwise(words)) / count,
            sum(len(word) > 8 for word in words) / count,
            sum(character.isupper() for character in text) / max(1, len(text)),
            float('"' in text or "(" in text),
            float("you" in words or "your" in words) * (fields["time"] > 0),
            float(warmth > 0) * asks,
            numbers * (fields["code"] > 0),
        ]


@cache
def own_weight(word: str) -> float:
    """A word's own standing in its field, about 1, from its letters alone."""
    digest = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    return 1.0 + WORD_SD * float(np.random.default_rng([SEED, digest]).standard_normal())


WARM, COLD = frozenset(_WARM.split()), frozenset(_COLD.split())
_FIELD_WORDS = {name: frozenset(words.split()) for name, words in FIELDS.items()}
